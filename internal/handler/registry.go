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

// registry is what everybody is served. internal is what nodes of the cluster ask of each other: it is served to
// them alone and advertised to nobody.
var registry, internal []API

// register adds an API. It is called by the init function of the API's file.
func register(key kmsg.Key, minVersion, maxVersion int16, serve func(*Handlers, *server.Exchange), remark string) {
	registry = withAPI(registry, API{Key: key, Min: minVersion, Max: maxVersion, ServedFirst: minVersion, Remark: remark, serve: serve})
}

// registerInternal adds an API for nodes, in the one version that they use.
func registerInternal(key kmsg.Key, version int16, serve func(*Handlers, *server.Exchange)) {
	internal = withAPI(internal, API{Key: key, Min: version, Max: version, ServedFirst: version, serve: serve})
}

func withAPI(apis []API, a API) []API {
	apis = append(apis, a)
	slices.SortFunc(apis, func(a, b API) int { return int(a.Key) - int(b.Key) })
	return apis
}

// APIs returns what is served to everybody, in order of the keys.
func APIs() []API { return slices.Clone(registry) }

// lookup finds an API of some; nil where it is none of them.
func lookup(apis []API, key int16) *API {
	i, found := slices.BinarySearchFunc(apis, key, func(a API, key int16) int { return int(a.Key) - int(key) })
	if !found {
		return nil
	}
	return &apis[i]
}

// Serves tells whether a request is answered rather than its connection closed. Every
// version of ApiVersions is: a version that we do not know gets error 35 in the form of version 0 (KIP-511).
func (h *Handlers) Serves(key, version int16, node bool) bool {
	a := lookup(registry, key)
	if a == nil && node {
		a = lookup(internal, key)
	}
	return a != nil && (key == int16(kmsg.ApiVersions) || version >= a.ServedFirst && version <= a.Max)
}

// Serve answers x.
func (h *Handlers) Serve(x *server.Exchange) {
	a := lookup(registry, x.Key)
	if a == nil {
		a = lookup(internal, x.Key)
	}
	a.serve(h, x)
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
