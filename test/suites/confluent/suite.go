// Package confluent holds the version of confluent-kafka-go whose own tests ../run.sh has run against a broker. It is a
// module of its own, as those tests draw in another hundred.
package confluent

import _ "github.com/confluentinc/confluent-kafka-go/v2/kafka" // its tests
