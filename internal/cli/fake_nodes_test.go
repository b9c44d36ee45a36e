package cli

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/moldau/moldau/internal/config"
)

// fakeSocket is where the fake broker of an address listens.
func fakeSocket(dir, address string) string {
	return filepath.Join(dir, strings.ReplaceAll(address, ":", "-"))
}

// serveFake answers clients as a node of a cluster whose voters are brokers, up once they listen.
func serveFake(cfg *config.Broker, dir string) error {
	l, err := net.Listen("unix", fakeSocket(dir, cfg.Listeners[0].Address()))
	if err != nil {
		return err
	}
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer nc.Close()
				for answerFake(cfg, nc, dir) == nil {
				}
			}()
		}
	}()
	return nil
}

// answerFake answers one request.
func answerFake(cfg *config.Broker, nc net.Conn, dir string) error {
	var size [4]byte
	if _, err := io.ReadFull(nc, size[:]); err != nil {
		return err
	}
	frame := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(nc, frame); err != nil {
		return err
	}
	resp := kmsg.ResponseForKey(int16(binary.BigEndian.Uint16(frame)))
	if resp == nil {
		return errors.New("unknown request")
	}
	resp.SetVersion(int16(binary.BigEndian.Uint16(frame[2:])))
	first := cfg.Listeners[0].Port - int32(cfg.NodeID) + 1
	switch resp := resp.(type) {
	case *kmsg.ApiVersionsResponse:
		for key, version := range map[kmsg.Key]int16{kmsg.ApiVersions: 3, kmsg.Metadata: 12, kmsg.DescribeCluster: 2} {
			resp.ApiKeys = append(resp.ApiKeys, kmsg.ApiVersionsResponseApiKey{ApiKey: int16(key), MaxVersion: version})
		}
	case *kmsg.MetadataResponse:
		for i, v := range cfg.Voters {
			resp.Brokers = append(resp.Brokers, kmsg.MetadataResponseBroker{NodeID: int32(v.ID), Host: devHost, Port: first + int32(i)})
		}
	case *kmsg.DescribeClusterResponse:
		for i, v := range cfg.Voters {
			port := first + int32(i)
			_, err := os.Stat(fakeSocket(dir, devAddress(int(port))))
			resp.Brokers = append(resp.Brokers, kmsg.DescribeClusterResponseBroker{NodeID: int32(v.ID), Host: devHost, Port: port, IsFenced: err != nil})
		}
	}
	out := append([]byte{0, 0, 0, 0}, frame[4:8]...)
	if resp.IsFlexible() && resp.Key() != int16(kmsg.ApiVersions) {
		out = append(out, 0) // no tags
	}
	out = resp.AppendTo(out)
	binary.BigEndian.PutUint32(out, uint32(len(out)-4))
	_, err := nc.Write(out)
	return err
}

// failOn has the broker fail once a file is there.
func (f *fakeBroker) failOn(file string) {
	for {
		if _, err := os.Stat(file); err == nil {
			f.failed <- errors.New("every data directory is offline; repair one")
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}
