package handler

import (
	"fmt"
	"slices"

	"github.com/moldau/moldau/internal/server"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// API is one API of the registry with the range of versions that are advertised.
type API struct {
	Key         kmsg.Key
	Min, Max    int16
	ServedFirst int16  // versions below are advertised but refused; Produce alone has such
	Remark      string // what a reader of docs/compatibility.md has to know; "" for nothing

	serve func(*Handlers, *server.Exchange)
}

var registry []API

// register adds an API. It is called by the init function of the API's file.
func register(key kmsg.Key, minVersion, maxVersion int16, serve func(*Handlers, *server.Exchange), remark string) {
	registry = append(registry, API{Key: key, Min: minVersion, Max: maxVersion, ServedFirst: minVersion, Remark: remark, serve: serve})
	slices.SortFunc(registry, func(a, b API) int { return int(a.Key) - int(b.Key) })
}

// APIs returns what is served, in order of the keys.
func APIs() []API { return slices.Clone(registry) }

func lookup(key int16) *API {
	i, found := slices.BinarySearchFunc(registry, key, func(a API, key int16) int { return int(a.Key) - int(key) })
	if !found {
		return nil
	}
	return &registry[i]
}

// Serves tells whether a request is answered rather than its connection closed. Every
// version of ApiVersions is: a version that we do not know gets error 35 in the form of version 0 (KIP-511).
func (h *Handlers) Serves(key, version int16, _ bool) bool {
	a := lookup(key)
	return a != nil && (key == int16(kmsg.ApiVersions) || version >= a.ServedFirst && version <= a.Max)
}

// Serve answers x.
func (h *Handlers) Serve(x *server.Exchange) {
	lookup(x.Key).serve(h, x)
}

// decode reads the body of x into req. Where that fails it closes the connection, as a
// peer that breaks the framing cannot be answered.
func decode(x *server.Exchange, req kmsg.Request) bool {
	req.SetVersion(x.Version)
	if err := req.ReadFrom(x.Body); err != nil {
		x.Close(fmt.Errorf("%s v%d request cannot be decoded: %w", kmsg.NameForKey(x.Key), x.Version, err))
		return false
	}
	return true
}

// reply answers x in the version of the request.
func reply(x *server.Exchange, resp kmsg.Response) {
	resp.SetVersion(x.Version)
	x.Reply(resp)
}
