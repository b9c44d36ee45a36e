// Package oracle asks a broker every version of every API that Moldau serves, over raw connections with framing of its
// own, and compares the decoded answers with those that Apache Kafka 4.3.1 gave to the same requests (testdata).
//
// Ids, addresses, times that the broker chose, documentation and the texts of error messages are masked; everything
// else must be equal, but for the rows of the differences table.
//
//	go test ./test/oracle                                          the broker of this tree, in this process
//	MOLDAU_BOOTSTRAP=127.0.0.1:9092 go test -count=1 ./test/oracle      a broker that runs already
//	test/oracle/record.sh                                          records testdata from Apache Kafka
//
// It owns testdata/. It has no part in any binary.
package oracle
