package metadata

// GroupFeature is Kafka's feature that at level 1 lets clients use the consumer protocol (KIP-848).
const GroupFeature = "group.version"

// Feature is a feature that this release can finalize, with the range of its levels.
type Feature struct {
	Name     string
	Min, Max int16
	// Lowers tells whether its level can be taken back. No record depends on such a feature.
	Lowers bool
}

// SupportedFeatures returns what ApiVersions advertises (KIP-584). A new cluster finalizes the highest levels.
func SupportedFeatures() []Feature {
	return []Feature{{Name: VersionFeature, Min: 1, Max: LatestVersion}, {Name: GroupFeature, Max: 1, Lowers: true}}
}

// Endpoint returns where clients reach the broker through the listener of that name.
func (b *Broker) Endpoint(listener string) (Endpoint, bool) {
	for _, e := range b.Endpoints {
		if e.Listener == listener {
			return e, true
		}
	}
	return Endpoint{}, false
}
