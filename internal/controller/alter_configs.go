package controller

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/metadata"
)

// Resource types that Kafka lets a client configure but that have no configurations here.
const (
	resourceBrokerLogger  = 8
	resourceClientMetrics = 16
)

// What an alteration does to a value (KIP-339).
const (
	opSet kmsg.IncrementalAlterConfigOp = iota
	opDelete
	opAppend
	opSubtract
)

// IncrementalAlterConfigs decides on versions 0 and 1. node is the broker that the
// client asked: a broker's own configuration can only be changed through it.
//
// A resource is changed whole or not at all. As in Kafka (ConfigAdminManager,
// ConfigurationControlManager), what a broker resource is set to is judged with
// INVALID_REQUEST, and an unknown operation on any other resource fails all of them
// with UNKNOWN_SERVER_ERROR.
func (c *Core) IncrementalAlterConfigs(node ids.NodeID, req *kmsg.IncrementalAlterConfigsRequest) (*kmsg.IncrementalAlterConfigsResponse, []metadata.Record) {
	refusals := make([]*Refusal, len(req.Resources))
	admitted := make([]int, 0, len(req.Resources)) // indexes of what is well formed
	count := make(map[metadata.ConfigResource]int)
	for i := range req.Resources {
		count[wireResource(&req.Resources[i])]++
	}
	for i := range req.Resources {
		r := &req.Resources[i]
		if count[wireResource(r)] > 1 {
			refusals[i] = refuse(kerr.InvalidRequest, "resource %q is in the request more than once", r.ResourceName)
			continue
		}
		if refusals[i] = c.checkResource(node, r); refusals[i] == nil {
			admitted = append(admitted, i)
		}
	}
	recs := c.alterAdmitted(req, admitted, refusals)
	resp := kmsg.NewPtrIncrementalAlterConfigsResponse()
	for i := range req.Resources {
		addAlteration(resp, &req.Resources[i], refusals[i])
	}
	if req.ValidateOnly {
		recs = nil
	}
	return resp, recs
}

// alterAdmitted decides on the resources that are well formed, and fills in why some
// are refused nevertheless.
func (c *Core) alterAdmitted(req *kmsg.IncrementalAlterConfigsRequest, admitted []int, refusals []*Refusal) []metadata.Record {
	refuseAll := func(refusal *Refusal) {
		for _, i := range admitted {
			refusals[i] = refusal
		}
	}
	for _, i := range admitted {
		for _, cfg := range req.Resources[i].Configs {
			if cfg.Op < opSet || cfg.Op > opSubtract {
				refuseAll(refuse(kerr.UnknownServerError, "there is no operation %d (on %s): nothing is changed", cfg.Op, cfg.Name))
				return nil
			}
		}
	}
	var recs []metadata.Record
	for _, i := range admitted {
		var made []metadata.Record
		made, refusals[i] = c.alterResource(&req.Resources[i])
		if recs = append(recs, made...); len(recs) > recordsMax {
			refuseAll(refuseTooMany(len(recs)))
			return nil
		}
	}
	return recs
}

func wireResource(r *kmsg.IncrementalAlterConfigsRequestResource) metadata.ConfigResource {
	return metadata.ConfigResource{Type: int8(r.ResourceType), Name: r.ResourceName}
}

// storedResource is wireResource, with a broker's id written in one way only.
func storedResource(r *kmsg.IncrementalAlterConfigsRequestResource) metadata.ConfigResource {
	res := wireResource(r)
	if res.Type == metadata.ResourceBroker && res.Name != "" {
		if id, err := strconv.ParseInt(res.Name, 10, 32); err == nil {
			res.Name = strconv.FormatInt(id, 10)
		}
	}
	return res
}

// checkResource judges the form of one resource, and all of a broker's, before any
// other resource is looked at.
func (c *Core) checkResource(node ids.NodeID, r *kmsg.IncrementalAlterConfigsRequestResource) *Refusal {
	seen := make(map[string]bool, len(r.Configs))
	var nulls []string
	for i := range r.Configs {
		cfg := &r.Configs[i]
		if seen[cfg.Name] {
			return refuse(kerr.InvalidRequest, "%s is altered twice", cfg.Name)
		}
		seen[cfg.Name] = true
		if cfg.Value == nil && cfg.Op != opDelete {
			nulls = append(nulls, cfg.Name)
		}
	}
	if nulls != nil {
		return refuse(kerr.InvalidRequest, "there is no value for %s", strings.Join(nulls, ", "))
	}
	switch int8(r.ResourceType) {
	case metadata.ResourceBroker:
		return c.checkBrokerResource(node, r)
	case resourceBrokerLogger:
		if len(r.Configs) > 0 {
			return refuse(kerr.InvalidConfig, "there is no logger %s", r.Configs[0].Name)
		}
		return nil
	case metadata.ResourceTopic, metadata.ResourceGroup, resourceClientMetrics:
		return nil
	}
	return refuse(kerr.InvalidRequest, "there is no resource type %d", r.ResourceType)
}

func (c *Core) checkBrokerResource(node ids.NodeID, r *kmsg.IncrementalAlterConfigsRequestResource) *Refusal {
	if r.ResourceName != "" {
		id, err := strconv.ParseInt(r.ResourceName, 10, 32)
		if err != nil {
			return refuse(kerr.InvalidRequest, "broker %q is no number; name a broker id, or nothing for all brokers", r.ResourceName)
		}
		if ids.NodeID(id) != node {
			return refuse(kerr.InvalidRequest, "this is broker %d: ask broker %d to alter its configuration", node, id)
		}
	}
	for i := range r.Configs {
		cfg := &r.Configs[i]
		switch cfg.Op {
		case opSet, opDelete:
		case opAppend, opSubtract:
			if list, _ := c.schema.IsList(metadata.ResourceBroker, cfg.Name); !list {
				return refuseNoList(cfg.Name)
			}
		default:
			return refuse(kerr.InvalidRequest, "there is no operation %d (on %s)", cfg.Op, cfg.Name)
		}
	}
	return nil
}

func refuseNoList(name string) *Refusal {
	return refuse(kerr.InvalidConfig, "%s is no list: nothing can be appended to or subtracted from it", name)
}

// alterResource decides on one resource.
func (c *Core) alterResource(r *kmsg.IncrementalAlterConfigsRequestResource) ([]metadata.Record, *Refusal) {
	res := storedResource(r)
	set := c.pending.Config(res)
	next := maps.Clone(set)
	if next == nil {
		next = make(map[string]string)
	}
	for i := range r.Configs {
		if refusal := c.alterValue(res.Type, next, &r.Configs[i]); refusal != nil {
			return nil, refusal
		}
	}
	if refusal := c.checkAltered(res, next); refusal != nil {
		return nil, refusal
	}
	recs := configRecords(res, set, next, r.Configs)
	switch {
	case res.Type == metadata.ResourceTopic && len(recs) > 0:
		recs = c.reconfigured(recs, res.Name, next)
	case res.Type == metadata.ResourceBroker && set[minISRConfig] != next[minISRConfig]:
		recs = c.forgetEligible(recs)
	}
	return recs, nil
}

// alterValue carries out one alteration on what is set for a resource.
func (c *Core) alterValue(resourceType int8, set map[string]string, cfg *kmsg.IncrementalAlterConfigsRequestResourceConfig) *Refusal {
	switch cfg.Op {
	case opDelete:
		delete(set, cfg.Name)
		return nil
	case opSet:
		set[cfg.Name] = *cfg.Value
	default:
		if list, _ := c.schema.IsList(resourceType, cfg.Name); !list {
			return refuseNoList(cfg.Name)
		}
		old, ok := set[cfg.Name]
		if !ok {
			old = c.schema.ListDefault(resourceType, cfg.Name)
		}
		set[cfg.Name] = alterList(old, *cfg.Value, cfg.Op)
	}
	if size := len(set[cfg.Name]); size > configValueBytesMax {
		return refuseLongValue(cfg.Name, size)
	}
	return nil
}

// alterList appends the elements of change that old lacks, or takes those away that it
// has. Elements are compared as they are, spaces and all, and empty ones at the end of
// change do not count, but for a change that is nothing else (Java: String.split).
func alterList(old, change string, op kmsg.IncrementalAlterConfigOp) string {
	var list []string
	for e := range strings.SplitSeq(old, ",") {
		if e != "" {
			list = append(list, e)
		}
	}
	if change != "" {
		if change = strings.TrimRight(change, ","); change == "" {
			return strings.Join(list, ",")
		}
	}
	for e := range strings.SplitSeq(change, ",") {
		at := slices.Index(list, e)
		switch {
		case op == opAppend && at < 0:
			list = append(list, e)
		case op == opSubtract && at >= 0:
			list = slices.Delete(list, at, at+1)
		}
	}
	return strings.Join(list, ",")
}

// checkAltered judges everything that would be set for a resource.
func (c *Core) checkAltered(res metadata.ConfigResource, set map[string]string) *Refusal {
	switch res.Type {
	case metadata.ResourceTopic:
		return c.checkAlteredTopic(res.Name, set)
	case metadata.ResourceBroker:
		if err := c.schema.ValidateBroker(res.Name == "", set); err != nil {
			return refuse(kerr.InvalidRequest, "%v", err)
		}
		if _, own := set[minISRConfig]; own && res.Name != "" && c.replicates() {
			return refuse(kerr.InvalidConfig, "%s cannot be set for one broker, as who is eligible to lead depends on it: set it for all brokers, or for topics", minISRConfig)
		}
		return nil
	}
	if len(set) == 0 {
		return nil
	}
	name := slices.Min(slices.Collect(maps.Keys(set)))
	if res.Type == metadata.ResourceGroup && res.Name != "" {
		if err := c.schema.ValidateGroup(set); err != nil {
			return refuse(kerr.InvalidConfig, "%v", err)
		}
		return nil
	}
	return refuse(kerr.InvalidRequest, "%s is no configuration of %q", name, res.Name)
}

func (c *Core) checkAlteredTopic(name string, set map[string]string) *Refusal {
	if name == "" {
		return refuse(kerr.InvalidRequest, "no topic is named; defaults of all topics are configurations of brokers")
	}
	if refusal := checkTopicName(name); refusal != nil {
		return refusal
	}
	if err := c.schema.ValidateTopic(name, set); err != nil {
		return refuse(kerr.InvalidConfig, "%v", err)
	}
	if _, ok := c.pending.Topic(name); !ok {
		return refuse(kerr.UnknownTopicOrPartition, "there is no topic %q", name)
	}
	return nil
}

// configRecords turns set into next. A broker's configuration that is set to what it
// was makes a record too: brokers take it as a request to load it again, a renewed
// key store say (KAFKA-14136).
func configRecords(res metadata.ConfigResource, set, next map[string]string, altered []kmsg.IncrementalAlterConfigsRequestResourceConfig) []metadata.Record {
	var recs []metadata.Record
	for i := range altered {
		name := altered[i].Name
		was, had := set[name]
		value, has := next[name]
		switch {
		case !has && had:
			recs = append(recs, &metadata.ConfigRecord{Resource: res, Name: name})
		case has && (!had || was != value || res.Type == metadata.ResourceBroker):
			recs = append(recs, &metadata.ConfigRecord{Resource: res, Name: name, Value: &value})
		}
	}
	return recs
}

func addAlteration(resp *kmsg.IncrementalAlterConfigsResponse, r *kmsg.IncrementalAlterConfigsRequestResource, refusal *Refusal) {
	out := kmsg.NewIncrementalAlterConfigsResponseResource()
	out.ResourceType, out.ResourceName = r.ResourceType, r.ResourceName
	out.ErrorCode, out.ErrorMessage = refusal.wire()
	resp.Resources = append(resp.Resources, out)
}

// IncrementalAlterConfigsRefused answers every resource of a request alike.
func IncrementalAlterConfigsRefused(req *kmsg.IncrementalAlterConfigsRequest, refusal *Refusal) *kmsg.IncrementalAlterConfigsResponse {
	resp := kmsg.NewPtrIncrementalAlterConfigsResponse()
	for i := range req.Resources {
		addAlteration(resp, &req.Resources[i], refusal)
	}
	return resp
}
