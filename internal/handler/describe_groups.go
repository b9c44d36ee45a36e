package handler

import (
	"github.com/moldau/moldau/internal/server"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeGroups: v0-v6, of classic groups
//
//	v3 authorized operations (KIP-430); v4 static members (KIP-345); v6 GROUP_ID_NOT_FOUND (KIP-1043)
func init() { register(kmsg.DescribeGroups, 0, 6, describeGroups, "") }

func describeGroups(h *Handlers, x *server.Exchange) {
	var req kmsg.DescribeGroupsRequest
	if !decode(x, &req) {
		return
	}
	x.Later()
	resp := kmsg.NewPtrDescribeGroupsResponse()
	resp.Groups = make([]kmsg.DescribeGroupsResponseGroup, len(req.Groups))
	all := newGather(len(req.Groups), func() { reply(x, resp) })
	for i, name := range req.Groups {
		one := kmsg.NewPtrDescribeGroupsRequest()
		one.Version, one.Groups = req.Version, []string{name}
		h.askGroup(x, name, one, false, func(response any, err error) {
			out := &resp.Groups[i]
			*out = kmsg.NewDescribeGroupsResponseGroup()
			out.Group = name
			if described, ok := response.(*kmsg.DescribeGroupsResponse); ok && err == nil {
				*out = described.Groups[0]
			} else {
				out.ErrorCode = code(err)
			}
			out.AuthorizedOperations = operations(req.IncludeAuthorizedOperations && out.ErrorCode == 0, groupOperations)
			all.end()
		})
	}
	all.end()
}
