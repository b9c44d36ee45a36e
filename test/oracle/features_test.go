package oracle

import (
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// versionFeatures gate the formats of a release: Moldau's, and Kafka's.
var versionFeatures = map[string]bool{"moldau.version": true, "metadata.version": true}

// ownFeature returns the broker's version feature and the highest level of it, which a new cluster has.
func (s *suite) ownFeature() (name string, highest int16) {
	s.t.Helper()
	req := kmsg.NewPtrApiVersionsRequest()
	req.SetVersion(4)
	req.ClientSoftwareName, req.ClientSoftwareVersion = "oracle", "1"
	for _, f := range s.quiet(req).(*kmsg.ApiVersionsResponse).SupportedFeatures {
		if versionFeatures[f.Name] {
			return f.Name, f.MaxVersion
		}
	}
	s.t.Fatal("no feature gates the formats")
	return "", 0
}

func (s *suite) updateFeatures() {
	own, highest := s.ownFeature()
	type update = kmsg.UpdateFeaturesRequestFeatureUpdate
	to := func(name string, level int16, kind int8) update {
		return update{Feature: name, MaxVersionLevel: level, UpgradeType: kind, AllowDowngrade: kind > 1}
	}
	each(57, func(v int16) {
		for _, dry := range []bool{false, true} {
			kinds := []int8{1, 2, 3}
			if v == 0 {
				kinds = kinds[:2]
			}
			if v == 0 && dry {
				continue
			}
			named := func(what string) string {
				if dry {
					return what + ", to be validated only"
				}
				return what
			}
			ask := func(updates ...update) *kmsg.UpdateFeaturesRequest {
				req := kmsg.NewPtrUpdateFeaturesRequest()
				req.ValidateOnly, req.FeatureUpdates = dry, updates
				return req
			}
			s.good(v, named("no update"), ask())
			for _, kind := range kinds {
				of := func(what string) string { return named(what + " of type " + strconv.Itoa(int(kind))) }
				s.good(v, of("to the level that it has"), ask(to(own, highest, kind)))
				s.bad(v, of("beyond the highest level"), ask(to(own, highest+1, kind)))
				s.bad(v, of("to level 0"), ask(to(own, 0, kind)))
				s.bad(v, of("to a negative level"), ask(to(own, -1, kind)))
				s.bad(v, of("an unknown feature"), ask(to("nosuch", 1, kind)))
				s.bad(v, of("an unknown feature to level 0"), ask(to("nosuch", 0, kind)))
				s.bad(v, of("an unknown feature to a negative level"), ask(to("nosuch", -1, kind)))
			}
			s.bad(v, named("an unknown feature and one that is known"), ask(to(own, highest, 1), to("nosuch", 1, 1)))
			s.bad(v, named("two unknown features"), ask(to("nosuch", 1, 1), to("nosuch-either", 1, 1)))
			s.good(v, named("an update twice"), ask(to(own, highest, 1), to(own, highest, 1)))
			s.bad(v, named("a feature twice, first as cannot be"), ask(to(own, highest+1, 1), to(own, highest, 1)))
			s.bad(v, named("a feature twice, last as cannot be"), ask(to(own, highest, 1), to(own, highest+1, 1)))
			s.bad(v, named("an unknown feature twice"), ask(to("nosuch", 1, 1), to("nosuch", 2, 1)))
			s.bad(v, named("a feature without a name"), ask(to("", 1, 1)))
			if v == 0 {
				continue
			}
			for _, kind := range []int8{0, 4, -1} {
				of := func(what string) string { return named(what + " of type " + strconv.Itoa(int(kind))) }
				s.bad(v, of("to the level that it has"), ask(to(own, highest, kind)))
				s.bad(v, of("an unknown feature"), ask(to("nosuch", 1, kind)))
			}
		}
	})
}

// unregisterBroker asks for brokers that are not there: a single one has to stay.
func (s *suite) unregisterBroker() {
	ask := func(id int32) *kmsg.UnregisterBrokerRequest {
		req := kmsg.NewPtrUnregisterBrokerRequest()
		req.BrokerID = id
		return req
	}
	s.good(0, "a broker that was never registered", ask(s.d.node+70))
	s.bad(0, "a negative id", ask(-1))
}
