package handler

import (
	"github.com/moldau/moldau/internal/server"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// UpdateFeatures: v0-v2 (KIP-584)
//
//	v1 kinds of updates, validation only (KIP-778); v2 no results of single features (KIP-1022)
func init() { register(kmsg.UpdateFeatures, 0, 2, updateFeatures, "of moldau.version") }

// upgradeOnly is the kind of an update in version 0, which cannot say it.
const upgradeOnly = 1

func updateFeatures(h *Handlers, x *server.Exchange) {
	var req kmsg.UpdateFeaturesRequest
	if !decode(x, &req) {
		return
	}
	if x.Version == 0 {
		for i := range req.FeatureUpdates {
			req.FeatureUpdates[i].UpgradeType = upgradeOnly
		}
	}
	ctx, cancel := within(x, req.TimeoutMillis)
	defer cancel()
	controller, _ := h.decider(x)
	reply(x, controller.UpdateFeatures(ctx, &req))
}
