package handler

import (
	"github.com/moldau/moldau/internal/server"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeCluster: v0-v2 (KIP-700)
//
//	v1 endpoint type (KIP-919); v2 fenced brokers (KIP-1073)
func init() {
	register(kmsg.DescribeCluster, 0, 2, describeCluster,
		"of brokers; the listeners of controllers take no clients")
}

// The kinds of endpoints that a client may ask for.
const (
	endpointBrokers     int8 = 1
	endpointControllers int8 = 2
)

func describeCluster(h *Handlers, x *server.Exchange) {
	var req kmsg.DescribeClusterRequest
	if !decode(x, &req) {
		return
	}
	resp := kmsg.NewPtrDescribeClusterResponse()
	if x.Version == 0 {
		req.EndpointType = endpointBrokers
	}
	resp.ClusterAuthorizedOperations = operationsNotAsked
	switch req.EndpointType {
	case endpointBrokers:
		h.describeClusterBrokers(x.Conn.Listener(), &req, resp)
	case endpointControllers:
		resp.ErrorCode = kerr.MismatchedEndpointType.Code
		resp.ErrorMessage = kmsg.StringPtr("this listener tells of brokers only")
	default:
		resp.ErrorCode = kerr.UnsupportedEndpointType.Code
		resp.ErrorMessage = kmsg.StringPtr("endpoint types are 1, brokers, and 2, controllers")
	}
	reply(x, resp)
}

func (h *Handlers) describeClusterBrokers(listener string, req *kmsg.DescribeClusterRequest, resp *kmsg.DescribeClusterResponse) {
	img := h.Image()
	resp.ClusterID = img.ClusterID()
	resp.ControllerID = int32(h.Node)
	resp.ClusterAuthorizedOperations = operations(req.IncludeClusterAuthorizedOperations, clusterOperations)
	for b := range img.Brokers() {
		e, ok := b.Endpoint(listener)
		if !ok || b.Fenced && !req.IncludeFencedBrokers {
			continue
		}
		resp.Brokers = append(resp.Brokers, kmsg.DescribeClusterResponseBroker{
			NodeID: int32(b.ID), Host: e.Host, Port: int32(e.Port), Rack: b.Rack, IsFenced: b.Fenced,
		})
	}
}
