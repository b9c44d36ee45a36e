package handler

import (
	"github.com/moldau/moldau/internal/server"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ConsumerGroupDescribe: v0-v1 (KIP-848)
//
//	v1 member type (KIP-1099)
func init() { register(kmsg.ConsumerGroupDescribe, 0, 1, consumerGroupDescribe, "") }

func consumerGroupDescribe(h *Handlers, x *server.Exchange) {
	var req kmsg.ConsumerGroupDescribeRequest
	if !decode(x, &req) {
		return
	}
	x.Later()
	resp := kmsg.NewPtrConsumerGroupDescribeResponse()
	resp.Groups = make([]kmsg.ConsumerGroupDescribeResponseGroup, len(req.Groups))
	all := newGather(len(req.Groups), func() { reply(x, resp) })
	for i, name := range req.Groups {
		answer := func(response any, err error) {
			out := &resp.Groups[i]
			*out = kmsg.NewConsumerGroupDescribeResponseGroup()
			out.Group = name
			if described, ok := response.(*kmsg.ConsumerGroupDescribeResponse); ok && err == nil {
				*out = described.Groups[0]
			} else {
				out.ErrorCode = code(err)
			}
			out.AuthorizedOperations = operations(req.IncludeAuthorizedOperations && out.ErrorCode == 0, groupOperations)
			all.end()
		}
		switch {
		case !h.consumerProtocol():
			answer(nil, kerr.UnsupportedVersion)
		case name == "":
			answer(nil, kerr.InvalidGroupID)
		default:
			one := kmsg.NewPtrConsumerGroupDescribeRequest()
			one.Version, one.Groups = req.Version, []string{name}
			h.askGroup(x, name, one, false, answer)
		}
	}
	all.end()
}
