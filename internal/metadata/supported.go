package metadata

// Feature is a feature that this release can finalize, with the range of its levels.
type Feature struct {
	Name     string
	Min, Max int16
}

// SupportedFeatures returns what ApiVersions advertises (KIP-584).
func SupportedFeatures() []Feature {
	return []Feature{{VersionFeature, 1, LatestVersion}}
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
