package handler

import (
	"github.com/moldau/moldau/internal/server"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DeleteGroups: v0-v2 (KIP-229). The offsets of a group go with it.
func init() { register(kmsg.DeleteGroups, 0, 2, deleteGroups, "") }

func deleteGroups(h *Handlers, x *server.Exchange) {
	var req kmsg.DeleteGroupsRequest
	if !decode(x, &req) {
		return
	}
	x.Later()
	resp := kmsg.NewPtrDeleteGroupsResponse()
	resp.Groups = make([]kmsg.DeleteGroupsResponseGroup, len(req.Groups))
	all := newGather(len(req.Groups), func() { reply(x, resp) })
	for i, name := range req.Groups {
		one := kmsg.NewPtrDeleteGroupsRequest()
		one.Version, one.Groups = req.Version, []string{name}
		h.askGroup(x, name, one, false, func(response any, err error) {
			out := &resp.Groups[i]
			*out = kmsg.NewDeleteGroupsResponseGroup()
			out.Group = name
			if deleted, ok := response.(*kmsg.DeleteGroupsResponse); ok && err == nil {
				*out = deleted.Groups[0]
			} else {
				out.ErrorCode = code(err)
			}
			all.end()
		})
	}
	all.end()
}
