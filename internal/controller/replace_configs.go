package controller

import (
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/metadata"
)

// AlterConfigs decides on versions 0 to 2: afterwards a resource has what the request
// sets for it and nothing else. It is the incremental alteration that sets all of that
// and deletes the rest, but for loggers, which only that one alters. A request that has
// a resource twice gets no answer at all from Kafka, and INVALID_REQUEST here.
func (c *Core) AlterConfigs(node ids.NodeID, req *kmsg.AlterConfigsRequest) (*kmsg.AlterConfigsResponse, []metadata.Record) {
	alter := kmsg.NewPtrIncrementalAlterConfigsRequest()
	alter.ValidateOnly = req.ValidateOnly
	for i := range req.Resources {
		alter.Resources = append(alter.Resources, c.replacement(&req.Resources[i]))
	}
	altered, recs := c.IncrementalAlterConfigs(node, alter)
	resp := kmsg.NewPtrAlterConfigsResponse()
	for i := range req.Resources {
		addReplacement(resp, &req.Resources[i], altered.Resources[i].ErrorCode, altered.Resources[i].ErrorMessage)
	}
	return resp, recs
}

// replacement returns the alterations that leave a resource with nothing but r's configurations.
func (c *Core) replacement(r *kmsg.AlterConfigsRequestResource) kmsg.IncrementalAlterConfigsRequestResource {
	out := kmsg.NewIncrementalAlterConfigsRequestResource()
	out.ResourceType, out.ResourceName = r.ResourceType, r.ResourceName
	named := make(map[string]bool, len(r.Configs))
	for i := range r.Configs {
		cfg := &r.Configs[i]
		named[cfg.Name] = true
		out.Configs = append(out.Configs, kmsg.IncrementalAlterConfigsRequestResourceConfig{Name: cfg.Name, Op: opSet, Value: cfg.Value})
	}
	for _, name := range slices.Sorted(maps.Keys(c.pending.Config(storedResource(&out)))) {
		if !named[name] {
			out.Configs = append(out.Configs, kmsg.IncrementalAlterConfigsRequestResourceConfig{Name: name, Op: opDelete})
		}
	}
	return out
}

func addReplacement(resp *kmsg.AlterConfigsResponse, r *kmsg.AlterConfigsRequestResource, code int16, message *string) {
	out := kmsg.NewAlterConfigsResponseResource()
	out.ResourceType, out.ResourceName = r.ResourceType, r.ResourceName
	out.ErrorCode, out.ErrorMessage = code, message
	if r.ResourceType == resourceBrokerLogger {
		out.ErrorCode, out.ErrorMessage = refuse(kerr.InvalidRequest, "loggers are altered with IncrementalAlterConfigs only").wire()
	}
	resp.Resources = append(resp.Resources, out)
}

// AlterConfigsRefused answers every resource of a request alike.
func AlterConfigsRefused(req *kmsg.AlterConfigsRequest, refusal *Refusal) *kmsg.AlterConfigsResponse {
	resp := kmsg.NewPtrAlterConfigsResponse()
	code, message := refusal.wire()
	for i := range req.Resources {
		addReplacement(resp, &req.Resources[i], code, message)
	}
	return resp
}
