// Package behaviour is a suite of scenarios that a client of a broker can see: several requests, real members, real
// time, and the state afterwards. Single requests and their answers are those of test/oracle.
//
//	test/behaviour/run.sh                                  Apache Kafka and Moldau, case by case
//	MOLDAU_BOOTSTRAP=127.0.0.1:9092 go test -count=1 .     a broker that runs with the settings of run.sh
//
// A case owns the topics and groups that it makes, so that all run at the same time, but for those that change settings
// of the whole broker: they run first, alone. It knows nothing of the broker that it talks to, and it is never skipped.
// What happens in the background is waited for with a bound; that something does not happen is judged once the same
// work has been seen done elsewhere, twice.
package behaviour
