package oracle

import (
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"
)

func (s *suite) listConfigResources() {
	s.make("listed-a", 1)
	s.make("listed-b", 1, "retention.ms", "1234")
	list := func(types ...int8) *kmsg.ListConfigResourcesRequest {
		req := kmsg.NewPtrListConfigResourcesRequest()
		req.ResourceTypes = types
		return req
	}
	each(74, func(v int16) {
		s.good(v, "every type", list())
		if v == 0 { // no field, and so no other request that is wrong than one that is cut
			return
		}
		for _, kind := range []int8{2, 4, 8, 16, 32} {
			s.good(v, "type "+strconv.Itoa(int(kind)), list(kind))
		}
		s.good(v, "topics and brokers", list(2, 4))
		s.good(v, "topics twice", list(2, 2))
		for _, kind := range []int8{0, 1, 64, -1} {
			s.bad(v, "type "+strconv.Itoa(int(kind)), list(kind))
		}
		s.bad(v, "topics and an unknown type", list(2, 9))
	})
}
