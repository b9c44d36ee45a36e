package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/peer"
)

// Voter is one member of the controller quorum.
type Voter struct {
	ID   ids.NodeID
	Host string
	Port int32
}

// Address returns HOST:PORT as package net takes it.
func (v Voter) Address() string {
	return net.JoinHostPort(v.Host, strconv.Itoa(int(v.Port)))
}

func (v Voter) String() string { return strconv.Itoa(int(v.ID)) + "@" + v.Address() }

// parseVoters reads ID@HOST:PORT elements.
func parseVoters(list []string) ([]Voter, error) {
	var voters []Voter
	for _, e := range list {
		id, address, ok := strings.Cut(e, "@")
		n, err := strconv.ParseInt(id, 10, 32)
		if !ok || err != nil || n < 0 {
			return nil, fmt.Errorf("%q is not ID@HOST:PORT", e)
		}
		host, port, err := splitHostPort(address)
		if err != nil || host == "" || port > 65535 {
			return nil, fmt.Errorf("%q is not ID@HOST:PORT", e)
		}
		voters = append(voters, Voter{ID: ids.NodeID(n), Host: host, Port: port})
	}
	return voters, nil
}

// checkVoters judges the voters of a cluster of several nodes. An even number of them stands no more failures
// than one fewer, and a decision takes longer.
func checkVoters(voters []Voter) error {
	if n := len(voters); n != 1 && n != 3 && n != 5 {
		return fmt.Errorf("it names %d voters; name one, three or five", len(voters))
	}
	for i, v := range voters {
		if v.Port == 0 || isAny(v.Host) {
			return fmt.Errorf("%s cannot be dialled; give an address and a port that the others reach", v)
		}
		for _, other := range voters[:i] {
			if v.ID == other.ID {
				return fmt.Errorf("node %d stands there twice, as %s and %s; every voter is a node of its own", v.ID, other, v)
			}
			if v.Address() == other.Address() {
				return fmt.Errorf("%s and %s have the same address; every voter needs one of its own", other, v)
			}
		}
	}
	return nil
}

// Roles is what a node is: process.roles.
type Roles struct{ Broker, Controller bool }

func (r Roles) String() string {
	switch {
	case !r.Controller:
		return "broker"
	case !r.Broker:
		return "controller"
	}
	return "broker,controller"
}

// Lone tells whether this node is its whole cluster: a broker and its only controller.
func (b *Broker) Lone() bool { return b.Roles.Broker && b.SoleVoter() }

// SoleVoter tells whether this node is the only controller.
func (b *Broker) SoleVoter() bool { return b.Roles.Controller && len(b.Voters) == 1 }

// resolveVoters fills Voters (Java: KafkaConfig.validateValues): a controller is one of them, and a broker alone is none.
func (b *Broker) resolveVoters() error {
	const name = "controller.quorum.voters"
	voters, err := parseVoters(b.values.list(name))
	if err == nil && (len(voters) > 1 || len(voters) == 1 && !(b.Roles.Broker && b.Roles.Controller)) {
		err = checkVoters(voters)
	}
	self := slices.ContainsFunc(voters, func(v Voter) bool { return v.ID == b.NodeID })
	switch {
	case err != nil:
		return b.problem(name, "%v", err)
	case !b.Roles.Controller && self:
		return b.problem(name, "node %d is a voter there and process.roles is broker, and a broker alone is no voter; give it a node.id of its own, or the role controller too", b.NodeID)
	case !b.Roles.Controller:
	case len(voters) == 1 && !self:
		return b.problem(name, "the voter is node %d and this is node.id=%d; both must be the same", voters[0].ID, b.NodeID)
	case len(voters) > 1 && !self:
		return b.problem(name, "this is node.id=%d, which is no voter, and process.roles is %s; a controller is one of the voters: set node.id to that of one, or process.roles to broker", b.NodeID, b.Roles)
	case len(voters) == 0:
		voters = []Voter{{ID: b.NodeID}}
	}
	b.Voters = voters
	return nil
}

// resolveBootstrap fills Bootstrap for a broker that finds its controllers by their addresses alone.
func (b *Broker) resolveBootstrap() error {
	const name, voters = "controller.quorum.bootstrap.servers", "controller.quorum.voters"
	list := b.values.list(name)
	for _, e := range list {
		if host, port, err := splitHostPort(e); err != nil || host == "" || port > 65535 {
			return b.problem(name, "%q is not HOST:PORT", e)
		}
	}
	switch named := len(b.values.list(voters)); {
	case b.Roles.Controller && len(list) > 1 && named < 2:
		return b.problem(name, "it names several controllers; name them in controller.quorum.voters too, ID@HOST:PORT each")
	case !b.Roles.Controller && len(list) == 0 && named == 0:
		return b.problem(voters, "a broker has to be told where its controllers are; name all of them, ID@HOST:PORT each, or some in controller.quorum.bootstrap.servers, HOST:PORT each")
	case !b.Roles.Controller && named == 0:
		b.Bootstrap = list
	}
	return nil
}

// resolveCluster fills what a node needs to be one of several, and judges it where there are several.
func (b *Broker) resolveCluster() error {
	b.HeartbeatInterval = milliseconds(b.values.number("broker.heartbeat.interval.ms"))
	b.SessionTimeout = milliseconds(b.values.number("broker.session.timeout.ms"))
	secret := b.resolveSecret()
	if b.Lone() || len(b.Voters) == 0 && len(b.Bootstrap) == 0 { // or they are wrong, which is told elsewhere
		return secret
	}
	if secret == nil && b.Secret.IsZero() {
		secret = b.checkOnlyLoopback()
	}
	return errors.Join(b.checkControllerListener(), b.checkTimings(), secret)
}

func (b *Broker) resolveSecret() error {
	const name = "cluster.secret.file"
	path := b.values.str(name)
	if path == "" {
		return nil
	}
	var err error
	if b.Secret, err = readSecret(path); err != nil {
		return b.problem(name, "%v", err)
	}
	return nil
}

// secretFileMax is more than a secret and the white space around it take.
const secretFileMax = 4 << 10

func readSecret(path string) (peer.Secret, error) {
	f, err := os.Open(path)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w; copy the file of another node there or, on the first, type: moldau secret new --out %s", err, path)
		}
		return peer.Secret{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return peer.Secret{}, err
	}
	if !info.Mode().IsRegular() {
		return peer.Secret{}, fmt.Errorf("%s is no regular file", path)
	}
	// The group may read it: that is how a container that is not root's gets it.
	if mode := info.Mode().Perm(); mode&0o027 != 0 && runtime.GOOS != "windows" {
		return peer.Secret{}, fmt.Errorf("others can read or change %s, as its mode is %04o; type: chmod 600 %s", path, mode, path)
	}
	content, err := io.ReadAll(io.LimitReader(f, secretFileMax))
	if err != nil {
		return peer.Secret{}, err
	}
	secret, err := peer.ParseSecret(string(content))
	if err != nil {
		return peer.Secret{}, fmt.Errorf("%s: %w; copy the file of another node there", path, err)
	}
	return secret, nil
}

// checkOnlyLoopback is the rule for nodes without a secret: they trust whoever reaches them, so nobody on
// another machine may.
func (b *Broker) checkOnlyLoopback() error {
	var outside string
	for _, v := range b.Voters {
		if v.Host != "" && !isLoopback(v.Host) {
			outside = "the voter " + v.String()
		}
	}
	for _, address := range b.Bootstrap {
		if host, _, _ := splitHostPort(address); !isLoopback(host) {
			outside = "the controller " + address
		}
	}
	for _, l := range slices.Concat(b.Listeners, b.ControllerListeners) {
		if !isLoopback(l.Host) {
			outside = "the listener " + l.String()
		}
	}
	if outside == "" {
		return nil
	}
	return b.problem("cluster.secret.file", "it must be set, as %s is not on a loopback address and nodes without a secret trust whoever reaches them; "+
		"type: moldau secret new --out cluster.secret, and copy that file to every node", outside)
}

func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback() || strings.EqualFold(host, "localhost")
}

// checkControllerListener wants the other nodes to find a controller where they were told that it is.
func (b *Broker) checkControllerListener() error {
	self := slices.IndexFunc(b.Voters, func(v Voter) bool { return v.ID == b.NodeID })
	if self < 0 || b.Voters[self].Host == "" {
		return nil // a broker alone, or a controller whose address is in the files of others only
	}
	port := b.Voters[self].Port
	switch {
	case len(b.values.list("controller.listener.names")) == 0:
		return b.problem("controller.listener.names", "it must name a listener for the other voters; add the line controller.listener.names=CONTROLLER, and CONTROLLER://HOST:%d to listeners", port)
	case len(b.ControllerListeners) > 0 && !slices.ContainsFunc(b.ControllerListeners, func(l Listener) bool { return l.Port == port }):
		return b.problem("controller.quorum.voters", "it tells the others to reach this node as %s, and %s has another port; both must have the same", b.Voters[self], b.ControllerListeners[0])
	}
	return nil
}

// checkTimings wants a broker that is well never to be taken for silent.
func (b *Broker) checkTimings() error {
	if b.HeartbeatInterval >= b.SessionTimeout {
		return b.problem("broker.heartbeat.interval.ms", "it must be less than broker.session.timeout.ms, which is %d, or every broker would be fenced between two heartbeats",
			b.SessionTimeout.Milliseconds())
	}
	return nil
}
