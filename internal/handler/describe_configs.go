package handler

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/server"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeConfigs: v1-v4, for topics, brokers and groups
//
//	v1 synonyms and sources (KIP-226); v3 types and documentation (KIP-569)
//
// Gaps: loggers and client metrics have no configs until they are built.
func init() { register(kmsg.DescribeConfigs, 1, 4, describeConfigs, "of topics, brokers and groups") }

func describeConfigs(h *Handlers, x *server.Exchange) {
	var req kmsg.DescribeConfigsRequest
	if !decode(x, &req) {
		return
	}
	resp := kmsg.NewPtrDescribeConfigsResponse()
	for i := range req.Resources {
		asked := &req.Resources[i]
		out := kmsg.NewDescribeConfigsResponseResource()
		out.ResourceType, out.ResourceName = asked.ResourceType, asked.ResourceName
		configs, err := h.describe(asked)
		out.ErrorCode, out.ErrorMessage = code(err), kmsg.StringPtr("")
		if err != nil {
			out.ErrorMessage = kmsg.StringPtr(err.Error())
		}
		for i := range configs {
			if len(asked.ConfigNames) == 0 || slices.Contains(asked.ConfigNames, configs[i].Name) {
				out.Configs = append(out.Configs, configAnswer(&configs[i], &req))
			}
		}
		resp.Resources = append(resp.Resources, out)
	}
	reply(x, resp)
}

// describe returns every config of a resource, with the values that hold now.
func (h *Handlers) describe(asked *kmsg.DescribeConfigsRequestResource) ([]config.Described, error) {
	switch asked.ResourceType {
	case kmsg.ConfigResourceTypeTopic:
		if !validTopicName(asked.ResourceName) {
			return nil, fmt.Errorf("%q is not a topic name: %w", asked.ResourceName, kerr.InvalidTopicException)
		}
		img := h.Image()
		t, ok := img.Topic(asked.ResourceName)
		if !ok {
			return nil, fmt.Errorf("topic %q does not exist: %w", asked.ResourceName, kerr.UnknownTopicOrPartition)
		}
		own := img.Config(metadata.ConfigResource{Type: metadata.ResourceTopic, Name: t.Name})
		return h.Config().DescribeTopic(own, len(t.Partitions[0].Replicas)), nil
	case kmsg.ConfigResourceTypeBroker:
		if asked.ResourceName == "" {
			return h.Config().DescribeClusterDefault(), nil
		}
		if id, err := strconv.Atoi(asked.ResourceName); err != nil || id != int(h.Node) {
			return nil, fmt.Errorf("this is broker %d, not %q: ask that broker for its configs: %w", h.Node, asked.ResourceName, kerr.InvalidRequest)
		}
		return h.Config().DescribeBroker(), nil
	case kmsg.ConfigResourceTypeGroupConfig:
		if asked.ResourceName == "" {
			return nil, fmt.Errorf("no group is named: %w", kerr.InvalidRequest)
		}
		return h.Config().DescribeGroup(h.Image().Config(metadata.ConfigResource{Type: metadata.ResourceGroup, Name: asked.ResourceName})), nil
	}
	return nil, fmt.Errorf("resource type %d has no configs here, only topics (2), brokers (4) and groups (32): %w", asked.ResourceType, kerr.InvalidRequest)
}

func configAnswer(d *config.Described, req *kmsg.DescribeConfigsRequest) kmsg.DescribeConfigsResponseResourceConfig {
	out := kmsg.NewDescribeConfigsResponseResourceConfig()
	out.Name, out.Value = d.Name, d.Value
	out.ReadOnly, out.IsSensitive = d.ReadOnly, d.Sensitive
	out.Source, out.ConfigType = kmsg.ConfigSource(d.Source), kmsg.ConfigType(d.Type)
	if req.IncludeDocumentation {
		out.Documentation = &d.Doc
	}
	if req.IncludeSynonyms {
		for _, s := range d.Synonyms {
			out.ConfigSynonyms = append(out.ConfigSynonyms,
				kmsg.DescribeConfigsResponseResourceConfigConfigSynonym{Name: s.Name, Value: s.Value, Source: kmsg.ConfigSource(s.Source)})
		}
	}
	return out
}
