package metadata

import (
	"maps"
	"slices"

	"github.com/moldau/moldau/internal/ids"
)

// Between returns the delta that leads from base to img where no records tell: a snapshot has come in the place
// of many entries. It has been applied.
func Between(base, img *Image) *Delta {
	if base == nil {
		base = &Image{}
	}
	d := NewDelta(base)
	d.next, d.applied = img, true
	d.topics = make(map[ids.TopicID]*topicChange)
	d.configs = make(map[ConfigResource]map[string]string)
	d.ownBrokers = !sameBrokers(base, img)
	for now := range img.Topics() {
		if before, _ := base.TopicByID(now.ID); before != now {
			d.topics[now.ID] = &topicChange{before: before, now: now}
		}
	}
	for before := range base.Topics() {
		if _, still := img.TopicByID(before.ID); !still {
			d.topics[before.ID] = &topicChange{before: before}
		}
	}
	d.addConfigs(img, base)
	d.addConfigs(base, img)
	return d
}

// addConfigs notes what one image configures and the other has otherwise.
func (d *Delta) addConfigs(one, other *Image) {
	one.configs.Scan(func(_ string, c *resourceConfig) bool {
		if !maps.Equal(c.values, other.Config(c.resource)) {
			d.configs[c.resource] = d.next.Config(c.resource)
		}
		return true
	})
}

func sameBrokers(a, b *Image) bool {
	if a.brokers.Len() != b.brokers.Len() {
		return false
	}
	same := true
	a.brokers.Scan(func(id ids.NodeID, was *Broker) bool {
		now, ok := b.brokers.Get(id)
		same = ok && (now == was || now.Incarnation == was.Incarnation && now.Epoch == was.Epoch && now.Fenced == was.Fenced &&
			now.InControlledShutdown == was.InControlledShutdown && slices.Equal(now.OfflineDirs, was.OfflineDirs) && slices.Equal(now.FullDirs, was.FullDirs))
		return same
	})
	return same
}
