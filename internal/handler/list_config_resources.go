package handler

import (
	"slices"
	"strconv"

	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/server"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ListConfigResources: v0-v1
//
//	v0 client metrics (KIP-714); v1 every type (KIP-1142)
//
// Gaps: client metrics have no configs until they are built.
func init() {
	register(kmsg.ListConfigResources, 0, 1, listConfigResources, "client metrics have none")
}

// configResourceTypes are the types that version 1 lists.
var configResourceTypes = []kmsg.ConfigResourceType{
	kmsg.ConfigResourceTypeTopic, kmsg.ConfigResourceTypeBroker, kmsg.ConfigResourceTypeBrokerLogger,
	kmsg.ConfigResourceTypeClientMetrics, kmsg.ConfigResourceTypeGroupConfig,
}

// listConfigResources answers with every topic and broker, whether or not anything is configured for it, and with the
// groups that have configs.
func listConfigResources(h *Handlers, x *server.Exchange) {
	var req kmsg.ListConfigResourcesRequest
	if !decode(x, &req) {
		return
	}
	resp := kmsg.NewPtrListConfigResourcesResponse()
	for _, t := range req.ResourceTypes {
		if !slices.Contains(configResourceTypes, kmsg.ConfigResourceType(t)) {
			resp.ErrorCode = kerr.UnsupportedVersion.Code
			reply(x, resp)
			return
		}
	}
	if x.Version > 0 {
		h.addConfigResources(x.Conn.Listener(), req.ResourceTypes, resp)
	}
	reply(x, resp)
}

// addConfigResources fills in the resources of the types asked for, of every type where none is.
func (h *Handlers) addConfigResources(listener string, types []int8, resp *kmsg.ListConfigResourcesResponse) {
	asked := func(t kmsg.ConfigResourceType) bool { return len(types) == 0 || slices.Contains(types, int8(t)) }
	add := func(t kmsg.ConfigResourceType, name string) {
		out := kmsg.NewListConfigResourcesResponseConfigResource()
		out.Type, out.Name = int8(t), name
		resp.ConfigResources = append(resp.ConfigResources, out)
	}
	img := h.Image()
	for _, t := range []kmsg.ConfigResourceType{kmsg.ConfigResourceTypeBrokerLogger, kmsg.ConfigResourceTypeBroker} {
		if !asked(t) {
			continue
		}
		for b := range img.Brokers() {
			if _, ok := b.Endpoint(listener); ok {
				add(t, strconv.Itoa(int(b.ID)))
			}
		}
	}
	if asked(kmsg.ConfigResourceTypeTopic) {
		for t := range img.Topics() {
			add(kmsg.ConfigResourceTypeTopic, t.Name)
		}
	}
	if asked(kmsg.ConfigResourceTypeGroupConfig) {
		for _, name := range img.Configured(metadata.ResourceGroup) {
			add(kmsg.ConfigResourceTypeGroupConfig, name)
		}
	}
}
