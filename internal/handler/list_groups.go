package handler

import (
	"cmp"
	"slices"

	"github.com/moldau/moldau/internal/coordinator/group"
	"github.com/moldau/moldau/internal/server"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ListGroups: v0-v5
//
//	v4 filter by state (KIP-518); v5 filter by type (KIP-848)
func init() { register(kmsg.ListGroups, 0, 5, listGroups, "") }

func listGroups(h *Handlers, x *server.Exchange) {
	var req kmsg.ListGroupsRequest
	if !decode(x, &req) {
		return
	}
	x.Later()
	h.Groups.Ask(&group.ListGroups{States: req.StatesFilter, Types: req.TypesFilter}, func(responses []any, loading bool) {
		resp := kmsg.NewPtrListGroupsResponse()
		if loading {
			resp.ErrorCode = kerr.CoordinatorLoadInProgress.Code
			reply(x, resp)
			return
		}
		resp.Groups = []kmsg.ListGroupsResponseGroup{}
		for _, r := range responses {
			if groups, ok := r.([]kmsg.ListGroupsResponseGroup); ok {
				resp.Groups = append(resp.Groups, groups...)
			}
		}
		slices.SortFunc(resp.Groups, func(a, b kmsg.ListGroupsResponseGroup) int { return cmp.Compare(a.Group, b.Group) })
		reply(x, resp)
	})
}
