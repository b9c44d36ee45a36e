package handler

import (
	"fmt"
	"slices"
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/metadata"
)

func TestListConfigResources(t *testing.T) {
	b := startBroker(t)
	defer b.stop()
	b.create("plain", 1)
	b.create("configured", 1, "retention.ms", "5")
	for node, listener := range []string{testListener, "OTHER"} { // the second cannot be reached here
		b.apply(&metadata.RegisterBrokerRecord{
			BrokerID: ids.NodeID(7 + node), IncarnationID: ids.NewUUID(), BrokerEpoch: metadata.EpochOfEntry, Fenced: true,
			Endpoints: []metadata.Endpoint{{Listener: listener, Host: testHost, Port: testPort}},
		})
	}
	c := b.dial()
	defer c.close()
	loggers, brokers, topics := []string{"8 4", "8 7"}, []string{"4 4", "4 7"}, []string{"2 configured", "2 plain"}
	for _, tc := range []struct {
		version int16
		types   []int8
		want    []string
		err     *kerr.Error
	}{
		{version: 0},
		{version: 1, want: slices.Concat(loggers, brokers, topics)},
		{version: 1, types: []int8{2, 4, 8, 16, 32}, want: slices.Concat(loggers, brokers, topics)},
		{version: 1, types: []int8{2}, want: topics},
		{version: 1, types: []int8{2, 4, 2}, want: slices.Concat(brokers, topics)},
		{version: 1, types: []int8{8}, want: loggers},
		{version: 1, types: []int8{16, 32}},
		{version: 1, types: []int8{0}, err: kerr.UnsupportedVersion},
		{version: 1, types: []int8{2, 9}, err: kerr.UnsupportedVersion},
		{version: 1, types: []int8{-1, 2}, err: kerr.UnsupportedVersion},
	} {
		t.Run(fmt.Sprintf("v%d %v", tc.version, tc.types), func(t *testing.T) {
			req := kmsg.NewPtrListConfigResourcesRequest()
			req.Version, req.ResourceTypes = tc.version, tc.types
			resp := ask[*kmsg.ListConfigResourcesResponse](c, req)
			wantCode(t, "list", resp.ErrorCode, tc.err)
			var got []string
			for _, r := range resp.ConfigResources {
				got = append(got, fmt.Sprintf("%d %s", r.Type, r.Name))
			}
			if !slices.Equal(got, tc.want) {
				t.Errorf("listed %q, want %q", got, tc.want)
			}
		})
	}
}
