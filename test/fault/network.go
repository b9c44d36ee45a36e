//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/moldau/moldau/test/nodes"
)

// clients is who the nodes' clients are where nodes are told by their ids.
const clients int32 = 0

// network is what connects the nodes and the clients: a bridge, and for each node a network namespace with an address of its own. The
// clients are in that of this process, in which run.sh has started it: with the process it all goes.
//
// What nft drops is dropped where it would arrive. What comes late goes through here: the kernel hands it to a TUN device of the sender,
// and gets it back, when its time has come, from that of the receiver.
type network struct {
	now  map[direction]quality
	tuns [nodes.Count + 1]*os.File // by node

	mu struct {
		sync.Mutex
		late map[direction]time.Duration
	}
}

// direction is what goes from one node to another, or from or to the clients.
type direction struct{ from, to int32 }

// quality is what is wrong with a direction.
type quality struct {
	lost int           // packets of a hundred
	late time.Duration // every packet
}

func (q quality) worse(other quality) quality {
	return quality{max(q.lost, other.lost), max(q.late, other.late)}
}

// host is the last byte of a node's address.
func host(id int32) int32 {
	if id == clients {
		return 254
	}
	return id
}

func address(id int32) string { return fmt.Sprintf("10.77.0.%d", host(id)) }

func namespace(id int32) string { return fmt.Sprintf("n%d", id) }

// inside is what a command of a node begins with.
func inside(id int32) []string {
	if id == clients {
		return nil
	}
	return []string{"nsenter", "--net=/run/netns/" + namespace(id)}
}

// command runs a command where a node is.
func command(id int32, input string, argv ...string) error {
	argv = append(inside(id), argv...)
	cmd := exec.Command(argv[0], argv[1:]...)
	var said bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &said, &said
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(argv, " "), err, bytes.TrimSpace(said.Bytes()))
	}
	return nil
}

// newNetwork wants a network and a mount namespace that are this process's alone.
func newNetwork() (*network, error) {
	if err := os.MkdirAll("/run/netns", 0o755); err != nil {
		return nil, err
	}
	if err := command(clients, "", "mount", "-t", "tmpfs", "names", "/run/netns"); err != nil { // for no others to see the names of ours
		return nil, err
	}
	if err := command(clients, fmt.Sprintf("link set lo up\nlink add name wire type bridge\naddr add %s/24 dev wire\nlink set wire up\n", address(clients)), "ip", "-batch", "-"); err != nil {
		return nil, err
	}
	n := &network{now: make(map[direction]quality)}
	n.mu.late = make(map[direction]time.Duration)
	for id := clients; id <= nodes.Count; id++ {
		if err := n.join(id); err != nil {
			return nil, err
		}
	}
	for id := clients; id <= nodes.Count; id++ {
		go n.carry(id)
	}
	return n, nil
}

// join connects a node.
func (n *network) join(id int32) error {
	if id != clients {
		name := namespace(id)
		if err := command(clients, fmt.Sprintf("netns add %s\nlink add v%d type veth peer name eth0 netns %s\nlink set v%d master wire up\n", name, id, name, id), "ip", "-batch", "-"); err != nil {
			return err
		}
		if err := command(id, fmt.Sprintf("link set lo up\naddr add %s/24 dev eth0\nlink set eth0 up\n", address(id)), "ip", "-batch", "-"); err != nil {
			return err
		}
	}
	tun, err := openTun(id)
	if err != nil {
		return fmt.Errorf("a TUN device for node %d: %w", id, err)
	}
	n.tuns[id] = tun
	return command(id, "", "ip", "link", "set", "late", "up")
}

// openTun makes a device in a node's namespace.
func openTun(id int32) (*os.File, error) {
	type result struct {
		fd  int
		err error
	}
	made := make(chan result)
	go func() {
		runtime.LockOSThread() // and never unlocks: the thread ends with the goroutine, for it is in another namespace
		fd, err := tunIn(id)
		made <- result{fd, err}
	}()
	r := <-made
	if r.err != nil {
		return nil, r.err
	}
	return os.NewFile(uintptr(r.fd), "/dev/net/tun"), nil
}

func tunIn(id int32) (int, error) {
	if id != clients {
		ns, err := os.Open("/run/netns/" + namespace(id))
		if err != nil {
			return 0, err
		}
		defer ns.Close()
		if err := unix.Setns(int(ns.Fd()), unix.CLONE_NEWNET); err != nil {
			return 0, err
		}
	}
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return 0, err
	}
	req, err := unix.NewIfreq("late")
	if err != nil {
		return 0, err
	}
	req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
		return 0, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

// set makes the directions that are named as bad as is said, and all others good.
func (n *network) set(want map[direction]quality) error {
	var errs []error
	for to := clients; to <= nodes.Count; to++ {
		var rules []string
		changed := false
		for from := clients; from <= nodes.Count; from++ {
			d := direction{from, to}
			switch lost := want[d].lost; {
			case lost >= 100:
				rules = append(rules, fmt.Sprintf("ip saddr %s drop", address(from)))
			case lost > 0:
				rules = append(rules, fmt.Sprintf("ip saddr %s numgen random mod 100 < %d drop", address(from), lost))
			}
			changed = changed || want[d].lost != n.now[d].lost
			if want[d].late != n.now[d].late {
				errs = append(errs, n.route(d, want[d].late))
			}
		}
		if changed {
			errs = append(errs, command(to, ruleset(rules), "nft", "-f", "-"))
		}
	}
	n.now = want
	return errors.Join(errs...)
}

// ruleset replaces what nft had before.
func ruleset(rules []string) string {
	return "table inet fault\ndelete table inet fault\ntable inet fault { chain arriving { type filter hook input priority 0;\n" +
		strings.Join(rules, "\n") + "\n}\n}\n"
}

// route has what goes in a direction pass through here, or no more.
func (n *network) route(d direction, late time.Duration) error {
	n.mu.Lock()
	before := n.mu.late[d]
	n.mu.late[d] = late
	n.mu.Unlock()
	to := address(d.to) + "/32"
	switch {
	case before == 0:
		return command(d.from, "", "ip", "route", "replace", to, "dev", "late", "src", address(d.from))
	case late == 0:
		return command(d.from, "", "ip", "route", "del", to, "dev", "late")
	}
	return nil
}

// packet is one on its way.
type packet struct {
	data []byte
	due  time.Time
}

// inFlight packets of a direction may be late at the same time; more are lost, as in a queue that is full.
const inFlight = 4096

// carry takes what a node sends into its TUN device to where it belongs, late, and for each receiver in order.
func (n *network) carry(from int32) {
	queues := make(map[int32]chan packet)
	for to := clients; to <= nodes.Count; to++ {
		queue := make(chan packet, inFlight)
		queues[host(to)] = queue
		go deliver(queue, n.tuns[to])
	}
	b := make([]byte, 1<<16)
	for {
		size, err := n.tuns[from].Read(b)
		if err != nil {
			return
		}
		const destination = 16 // in the header of IPv4
		if size < destination+4 || b[0]>>4 != 4 {
			continue // what IPv6 says by itself
		}
		n.mu.Lock()
		late := n.mu.late[direction{from, node(int32(b[destination+3]))}]
		n.mu.Unlock()
		select {
		case queues[int32(b[destination+3])] <- packet{slices.Clone(b[:size]), time.Now().Add(late)}:
		default:
		}
	}
}

// node is whose address ends so.
func node(host int32) int32 {
	if host > nodes.Count {
		return clients
	}
	return host
}

func deliver(queue <-chan packet, tun *os.File) {
	for p := range queue {
		time.Sleep(time.Until(p.due))
		_, _ = tun.Write(p.data) // what cannot be delivered is lost, as on a wire
	}
}
