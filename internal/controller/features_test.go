package controller

import (
	"strconv"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/metadata"
)

// updateFeatures reads lines of a feature with its level and the type of the update.
func (s *script) updateFeatures(t *testing.T, validateOnly bool, lines []string) {
	req := kmsg.NewPtrUpdateFeaturesRequest()
	req.ValidateOnly = validateOnly
	for _, line := range lines {
		name, args := fields(t, line)
		u := kmsg.NewUpdateFeaturesRequestFeatureUpdate()
		u.Feature = name
		u.MaxVersionLevel, u.UpgradeType = int16(number(t, args, "level", 1)), int8(number(t, args, "type", 1))
		req.FeatureUpdates = append(req.FeatureUpdates, u)
	}
	resp, recs := s.core.UpdateFeatures(req)
	s.result("features", resp.ErrorCode, resp.ErrorMessage)
	for _, r := range resp.Results {
		s.printf("  %s: %d %s\n", r.Feature, r.ErrorCode, *r.ErrorMessage)
	}
	s.accept(recs)
}

// unregister reads lines of a broker.
func (s *script) unregister(t *testing.T, lines []string) {
	for _, line := range lines {
		id, err := strconv.Atoi(line)
		if err != nil {
			t.Fatal(err)
		}
		resp, recs := s.core.UnregisterBroker(&kmsg.UnregisterBrokerRequest{BrokerID: int32(id)})
		s.result("broker "+line, resp.ErrorCode, resp.ErrorMessage)
		s.accept(recs)
	}
}

// TestFeatureLevelsOnlyGrow: a level goes up by an upgrade alone, and never down.
func TestFeatureLevelsOnlyGrow(t *testing.T) {
	f := metadata.Feature{Name: "f", Min: 2, Max: 5}
	for _, c := range []struct {
		level, asked int16
		kind         int8
		granted      bool
	}{
		{3, 5, 1, true}, {3, 3, 1, true}, {0, 2, 1, true},
		{3, 3, 2, true}, {3, 3, 3, true},
		{3, 4, 2, false}, {3, 4, 3, false},
		{3, 2, 1, false}, {3, 2, 2, false}, {3, 2, 3, false},
		{5, 6, 1, false}, {0, 1, 1, false}, {3, 0, 3, false}, {3, -1, 3, false},
		{3, 3, 0, false}, {3, 3, 4, false}, {3, 3, -1, false},
	} {
		u := kmsg.UpdateFeaturesRequestFeatureUpdate{Feature: "f", MaxVersionLevel: c.asked, UpgradeType: c.kind}
		refusal := checkUpdate(f, c.level, &u)
		if granted := refusal == nil; granted != c.granted || !granted && refusal.Code != kerr.InvalidUpdateVersion {
			t.Errorf("%d to %d of type %d: %v, granted should be %v", c.level, c.asked, c.kind, refusal, c.granted)
		}
	}
}

// TestUnregisterNeedsTheCommittedEpoch: a record with the epoch that is only expected would not fit the log.
func TestUnregisterNeedsTheCommittedEpoch(t *testing.T) {
	core := newTestCore(testConfig)
	recs := []metadata.Record{&metadata.RegisterBrokerRecord{BrokerID: 3, IncarnationID: ids.NewUUID(), BrokerEpoch: metadata.EpochOfEntry, Fenced: true}}
	if err := core.Accept(recs, 1, 1); err != nil {
		t.Fatal(err)
	}
	req := &kmsg.UnregisterBrokerRequest{BrokerID: 3}
	if resp, recs := core.UnregisterBroker(req); resp.ErrorCode != kerr.InvalidRequest.Code || recs != nil {
		t.Errorf("before the commit: %+v, %v", resp, recs)
	}
	core.Commit(core.Pending(), true)
	if resp, recs := core.UnregisterBroker(req); resp.ErrorCode != 0 || len(recs) != 1 {
		t.Errorf("after it: %+v, %v", resp, recs)
	}
}
