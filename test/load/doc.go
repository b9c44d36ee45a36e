// Package load is clients that put a broker, or several, under load and record in a history what they were promised:
// idempotent producers, groups whose members come and go and commit, and who asks for the groups' offsets. The suites that
// kill brokers share it.
package load
