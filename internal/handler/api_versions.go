package handler

import (
	"fmt"
	"regexp"
	"sync/atomic"

	"github.com/moldau/moldau/internal/metadata"
	"github.com/moldau/moldau/internal/server"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ApiVersions: v0-v4
//
//	v3 client software name and version, features (KIP-511, KIP-584); v4 features whose minimum is 0 (KAFKA-17011)
//
// A version that we do not know is answered in the form of v0 with error 35 and the
// range of ApiVersions alone, and the connection stays.
func init() {
	register(kmsg.ApiVersions, 0, apiVersionsMax, apiVersions,
		"a version beyond is answered in the form of version 0 with error 35")
}

const apiVersionsMax = 4

// softwareName is what KIP-511 allows as a client's software name and version.
var softwareName = regexp.MustCompile(`^[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?$`)

// apiVersionsCache keeps the encoded bodies for one image: the answer changes only with
// the epoch of the features, and clients ask at every connection.
type apiVersionsCache struct {
	current atomic.Pointer[apiVersionsBodies]
}

type apiVersionsBodies struct {
	image  *metadata.Image
	bodies [apiVersionsMax + 1][]byte
}

func apiVersions(h *Handlers, x *server.Exchange) {
	if x.Version > apiVersionsMax || x.Version < 0 {
		x.Version = 0
		resp := kmsg.NewPtrApiVersionsResponse()
		resp.ErrorCode = kerr.UnsupportedVersion.Code
		resp.ApiKeys = []kmsg.ApiVersionsResponseApiKey{{ApiKey: int16(kmsg.ApiVersions), MaxVersion: apiVersionsMax}}
		reply(x, resp)
		return
	}
	var req kmsg.ApiVersionsRequest
	if !decode(x, &req) {
		return
	}
	if x.Version >= 3 {
		if !softwareName.MatchString(req.ClientSoftwareName) || !softwareName.MatchString(req.ClientSoftwareVersion) {
			resp := kmsg.NewPtrApiVersionsResponse()
			resp.ErrorCode = kerr.InvalidRequest.Code
			reply(x, resp)
			return
		}
		x.Conn.SetSoftware(req.ClientSoftwareName, req.ClientSoftwareVersion)
	}
	x.ReplyBody(append(x.Buffer(), h.apiVersionsBody(x.Version)...), nil)
}

func (h *Handlers) apiVersionsBody(version int16) []byte {
	img := h.Image()
	c := h.apiVersions.current.Load()
	if c == nil || c.image != img {
		c = &apiVersionsBodies{image: img}
		for v := range c.bodies {
			c.bodies[v] = buildApiVersions(img, int16(v))
		}
		h.apiVersions.current.Store(c)
	}
	return c.bodies[version]
}

func buildApiVersions(img *metadata.Image, version int16) []byte {
	resp := kmsg.NewPtrApiVersionsResponse()
	resp.Version = version
	for _, a := range registry {
		resp.ApiKeys = append(resp.ApiKeys, kmsg.ApiVersionsResponseApiKey{ApiKey: int16(a.Key), MinVersion: a.Min, MaxVersion: a.Max})
	}
	for _, f := range metadata.SupportedFeatures() {
		if f.Min == 0 && version < apiVersionsMax {
			continue
		}
		resp.SupportedFeatures = append(resp.SupportedFeatures,
			kmsg.ApiVersionsResponseSupportedFeature{Name: f.Name, MinVersion: f.Min, MaxVersion: f.Max})
	}
	resp.FinalizedFeaturesEpoch = int64(img.Offset)
	for name, level := range img.Features() {
		resp.FinalizedFeatures = append(resp.FinalizedFeatures,
			kmsg.ApiVersionsResponseFinalizedFeature{Name: name, MinVersionLevel: level, MaxVersionLevel: level})
	}
	return resp.AppendTo(nil)
}

// String names the API and its range as the compatibility table does.
func (a API) String() string { return fmt.Sprintf("%s %d-%d", a.Key.Name(), a.Min, a.Max) }
