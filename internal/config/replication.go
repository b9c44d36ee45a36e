package config

import "time"

// Replication is how brokers follow each other.
type Replication struct {
	LagMax time.Duration // replica.lag.time.max.ms

	FetchBytes         int32         // replica.fetch.max.bytes
	FetchMinBytes      int32         // replica.fetch.min.bytes
	FetchResponseBytes int32         // replica.fetch.response.max.bytes
	FetchWait          time.Duration // replica.fetch.wait.max.ms
	FetchBackoff       time.Duration // replica.fetch.backoff.ms

	BalanceInterval time.Duration // between two looks at the preferred leaders; 0 is never
}

func (b *Broker) resolveReplication() {
	v := &b.values
	b.Replication = Replication{
		LagMax:             milliseconds(v.number("replica.lag.time.max.ms")),
		FetchBytes:         int32(v.number("replica.fetch.max.bytes")),
		FetchMinBytes:      int32(v.number("replica.fetch.min.bytes")),
		FetchResponseBytes: int32(v.number("replica.fetch.response.max.bytes")),
		FetchWait:          milliseconds(v.number("replica.fetch.wait.max.ms")),
		FetchBackoff:       milliseconds(v.number("replica.fetch.backoff.ms")),
	}
	if v.flag("auto.leader.rebalance.enable") {
		b.Replication.BalanceInterval = time.Duration(v.number("leader.imbalance.check.interval.seconds")) * time.Second
	}
}
