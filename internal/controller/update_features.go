package controller

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/metadata"
)

// Kinds of updates that a client may ask for (KIP-584, KIP-778).
const (
	updateUpgrade         int8 = 1
	updateUnsafeDowngrade int8 = 3
)

// updateGranted is the message that Kafka has for an update without an error.
var updateGranted = "NONE"

// UpdateFeatures decides on versions 0 to 2 (Java: FeatureControlManager.updateFeatures).
// One update that cannot be refuses all of them; of several of a feature only the last
// counts. AllowDowngrade of version 0 is not looked at: its updates have to come as upgrades.
func (c *Core) UpdateFeatures(req *kmsg.UpdateFeaturesRequest) (*kmsg.UpdateFeaturesResponse, []metadata.Record) {
	resp := kmsg.NewPtrUpdateFeaturesResponse()
	last := make(map[string]int, len(req.FeatureUpdates))
	for i := range req.FeatureUpdates {
		last[req.FeatureUpdates[i].Feature] = i
	}
	var recs []metadata.Record
	for i := range req.FeatureUpdates {
		u := &req.FeatureUpdates[i]
		if last[u.Feature] == i {
			made, refusal := c.updateFeature(u)
			if refusal != nil {
				return UpdateFeaturesRefused(req, refusal), nil
			}
			recs = append(recs, made...)
		}
		out := kmsg.NewUpdateFeaturesResponseResult()
		out.Feature, out.ErrorMessage = u.Feature, &updateGranted
		resp.Results = append(resp.Results, out)
	}
	if req.ValidateOnly {
		recs = nil
	}
	return resp, recs
}

func (c *Core) updateFeature(u *kmsg.UpdateFeaturesRequestFeatureUpdate) ([]metadata.Record, *Refusal) {
	for _, f := range metadata.SupportedFeatures() {
		if f.Name != u.Feature {
			continue
		}
		level := c.pending.Features()[f.Name]
		if refusal := checkUpdate(f, level, u); refusal != nil || u.MaxVersionLevel == level {
			return nil, refusal
		}
		return []metadata.Record{&metadata.FeatureLevelRecord{Name: f.Name, FeatureLevel: u.MaxVersionLevel}}, nil
	}
	return nil, refuse(kerr.InvalidUpdateVersion, "there is no feature %q", u.Feature)
}

// checkUpdate judges one update of a feature that has a level, 0 for none.
func checkUpdate(f metadata.Feature, level int16, u *kmsg.UpdateFeaturesRequestFeatureUpdate) *Refusal {
	asked := u.MaxVersionLevel
	switch {
	case u.UpgradeType < updateUpgrade || u.UpgradeType > updateUnsafeDowngrade:
		return refuse(kerr.InvalidUpdateVersion, "update type %d of feature %s is none of 1, 2 and 3", u.UpgradeType, f.Name)
	case asked < f.Min || asked > f.Max:
		return refuse(kerr.InvalidUpdateVersion, "level %d of feature %s is not between %d and %d", asked, f.Name, f.Min, f.Max)
	case asked < level && u.UpgradeType == updateUpgrade && f.Lowers:
		return refuse(kerr.InvalidUpdateVersion, "feature %s has level %d, and %d is no upgrade", f.Name, level, asked)
	case asked < level && !f.Lowers:
		return refuse(kerr.InvalidUpdateVersion, "feature %s has level %d and cannot go back to %d", f.Name, level, asked)
	case asked > level && u.UpgradeType != updateUpgrade:
		return refuse(kerr.InvalidUpdateVersion, "feature %s has level %d, and %d is no downgrade", f.Name, level, asked)
	}
	return nil
}

// UpdateFeaturesRefused answers a request of which nothing is granted.
func UpdateFeaturesRefused(_ *kmsg.UpdateFeaturesRequest, refusal *Refusal) *kmsg.UpdateFeaturesResponse {
	resp := kmsg.NewPtrUpdateFeaturesResponse()
	resp.ErrorCode, resp.ErrorMessage = refusal.wire()
	return resp
}
