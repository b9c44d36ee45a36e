package broker

import (
	"os"

	"github.com/moldau/moldau/internal/log"
)

// reportStrays tells of partition directories that belong to no topic of this cluster.
// They stay as they are: somebody copied them there, or will want to know.
func (b *Broker) reportStrays() {
	var strays []string
	for _, l := range b.store.Found() {
		if b.isStray(l) {
			strays = append(strays, l.TopicPartition().String())
			if err := b.store.Forget(l.TopicPartition()); err != nil {
				b.deps.Logger.Error("stray partition cannot be closed", "partition", l.TopicPartition().String(), "err", err)
			}
		}
	}
	if len(strays) > 0 {
		b.deps.Logger.Warn("partition directories belong to no topic and are left alone; register them with `moldau topic adopt`, or remove them",
			"count", len(strays), "first", strays[0])
	}
}

func (b *Broker) isStray(l *log.Log) bool {
	tp := l.TopicPartition()
	if b.store.Log(tp) != l {
		return false // deleted, or replaced, since it was found
	}
	p, err := b.table.ByName([]byte(tp.Topic), tp.Partition)
	return err != nil || p.Log() != l
}

func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return "localhost"
	}
	return name
}
