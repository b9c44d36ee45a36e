package config

import (
	"slices"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/ids"
	"github.com/moldau/moldau/internal/peer"
)

// The files that Apache Kafka ships for one role are taken as they are; that of a controller, which listens on every interface,
// needs the cluster's secret.
func TestKafkasFilesOfOneRole(t *testing.T) {
	secret := properties(t, "cluster.secret.file="+secretFile(t, peer.NewSecret().Text(), 0o600))
	c := newBroker(t, readTestdata(t, "controller.properties"), secret)
	if c.Roles != (Roles{Controller: true}) || !slices.Equal(c.Voters, []Voter{{ID: 1}}) || !c.SoleVoter() || c.Lone() || len(c.Bootstrap) != 0 {
		t.Errorf("roles %s, voters %v, bootstrap %v", c.Roles, c.Voters, c.Bootstrap)
	}
	if want := []Listener{{"CONTROLLER", "", 9093}}; !slices.Equal(c.ControllerListeners, want) || len(c.Listeners) != 0 || len(c.Advertised) != 0 || c.InterBrokerListener != "" {
		t.Errorf("%+v", c)
	}
	if want := (Listener{"CONTROLLER", "localhost", 9093}); c.ControllerAt != want {
		t.Errorf("others are told %v", c.ControllerAt)
	}
	if _, err := New(readTestdata(t, "controller.properties")); err == nil || !strings.Contains(err.Error(), "cluster.secret.file: it must be set, as the listener CONTROLLER://:9093 is not on a loopback address") {
		t.Errorf("a controller for everybody: %v", err)
	}

	b := newBroker(t, readTestdata(t, "broker.properties"))
	if b.Roles != (Roles{Broker: true}) || len(b.Voters) != 0 || !slices.Equal(b.Bootstrap, []string{"localhost:9093"}) || b.SoleVoter() || b.Lone() {
		t.Errorf("roles %s, voters %v, bootstrap %v", b.Roles, b.Voters, b.Bootstrap)
	}
	if want := []Listener{{"PLAINTEXT", "localhost", 9092}}; !slices.Equal(b.Listeners, want) || len(b.ControllerListeners) != 0 || b.InterBrokerListener != "PLAINTEXT" {
		t.Errorf("%+v", b)
	}
}

const (
	aController = "node.id=2\nprocess.roles=controller\nlisteners=CONTROLLER://localhost:9244\ncontroller.listener.names=CONTROLLER\n"
	aBroker     = "node.id=7\nprocess.roles=broker\nlisteners=PLAINTEXT://localhost:9092\ncontroller.listener.names=CONTROLLER\n"
	someVoters  = "controller.quorum.voters=1@localhost:9243,2@localhost:9244,3@localhost:9245\n"
)

func TestRoles(t *testing.T) {
	for _, c := range []struct {
		rule, text string
		roles      Roles
		voters     int
		dirs       string // of data; of metadata
	}{
		{"both by default", "node.id=1", Roles{true, true}, 1, "[/tmp/moldau] /tmp/moldau"},
		{"both", "node.id=1\nprocess.roles=controller,broker", Roles{true, true}, 1, ""},
		{"a controller of three", aController + someVoters + "log.dirs=/a,/b", Roles{Controller: true}, 3, "[/a] /a"},
		{"a controller with a directory of its own", aController + someVoters + "log.dirs=/a\nmetadata.log.dir=/m", Roles{Controller: true}, 3, "[/m] /m"},
		{"a lone controller", aController + "controller.quorum.voters=2@localhost:9244", Roles{Controller: true}, 1, ""},
		{"a broker", aBroker + someVoters + "log.dirs=/a,/b\nmetadata.log.dir=/m", Roles{Broker: true}, 3, "[/a /b] /a"},
		{"a broker of a lone controller", aBroker + "controller.quorum.voters=1@localhost:9243", Roles{Broker: true}, 1, ""},
		{"a broker that knows controllers twice", aBroker + someVoters + "controller.quorum.bootstrap.servers=localhost:9243", Roles{Broker: true}, 3, ""},
	} {
		b, err := New(properties(t, c.text))
		if err != nil {
			t.Errorf("%s: %v", c.rule, err)
			continue
		}
		if b.Roles != c.roles || len(b.Voters) != c.voters || len(b.Bootstrap) != 0 {
			t.Errorf("%s: %s, voters %v, bootstrap %v", c.rule, b.Roles, b.Voters, b.Bootstrap)
		}
		if b.Lone() != (c.roles == Roles{true, true}) || c.voters == 1 && b.SoleVoter() != c.roles.Controller {
			t.Errorf("%s: lone %v, sole voter %v", c.rule, b.Lone(), b.SoleVoter())
		}
		if got := strings.Join(b.LogDirs, " "); c.dirs != "" && c.rule != "both by default" && "["+got+"] "+b.MetadataLogDir != c.dirs {
			t.Errorf("%s: [%s] %s, want %s", c.rule, got, b.MetadataLogDir, c.dirs)
		}
	}
	b := newBroker(t, properties(t, aBroker+"controller.quorum.bootstrap.servers=localhost:9243,[::1]:9244"))
	if len(b.Bootstrap) != 2 || b.NodeID != ids.NodeID(7) {
		t.Errorf("%v", b.Bootstrap)
	}
}

// What is not right for the role of a node is refused with one line that says what to change.
func TestRolesRefused(t *testing.T) {
	const voters, listeners = "test.properties:5: controller.quorum.voters: ", "test.properties:3: listeners: "
	outside := " is not on a loopback address and nodes without a secret trust whoever reaches them"
	for _, c := range []struct{ rule, text, want string }{
		{"no such role", "node.id=1\nprocess.roles=witness", "test.properties:2: process.roles"},
		{"a controller that is no voter", strings.Replace(aController, "node.id=2", "node.id=4", 1) + someVoters,
			voters + "this is node.id=4, which is no voter, and process.roles is controller; a controller is one of the voters"},
		{"a lone controller of another id", aController + "controller.quorum.voters=1@localhost:9244", voters + "the voter is node 1 and this is node.id=2"},
		{"a broker that is a voter", strings.Replace(aBroker, "node.id=7", "node.id=3", 1) + someVoters,
			voters + "node 3 is a voter there and process.roles is broker, and a broker alone is no voter; give it a node.id of its own, or the role controller too"},
		{"a broker without controllers", aBroker, "controller.quorum.voters: a broker has to be told where its controllers are"},
		{"a broker of two voters", aBroker + "controller.quorum.voters=1@localhost:1,2@localhost:2", voters + "it names 2 voters"},
		{"a voter without a port", aBroker + "controller.quorum.voters=1@localhost:0", voters + "1@localhost:0 cannot be dialled"},
		{"no address", aBroker + "controller.quorum.bootstrap.servers=localhost", "test.properties:5: controller.quorum.bootstrap.servers: \"localhost\" is not HOST:PORT"},
		{"controllers that are not named", aController + "controller.quorum.bootstrap.servers=localhost:1,localhost:2", "test.properties:5: controller.quorum.bootstrap.servers: it names several controllers"},
		{"a broker with a listener of controllers", strings.Replace(aBroker, ":9092", ":9092,CONTROLLER://localhost:9244", 1) + someVoters,
			listeners + "CONTROLLER://localhost:9244 is one of controller.listener.names, and process.roles is broker"},
		{"a broker that names no listener of controllers", strings.Replace(aBroker, "controller.listener.names=CONTROLLER", "", 1) + someVoters,
			"controller.listener.names: it must name the listener of the controllers"},
		{"a controller with a listener for clients", strings.Replace(aController, ":9244", ":9244,PLAINTEXT://localhost:9092", 1) + someVoters,
			listeners + "PLAINTEXT://localhost:9092 is not one of controller.listener.names, and process.roles is controller"},
		{"a controller without a listener", "node.id=2\nprocess.roles=controller\ncontroller.listener.names=CONTROLLER\n" + someVoters,
			"listeners: it must name a listener for the other nodes, one of controller.listener.names"},
		{"a controller at another port", strings.Replace(aController, ":9244", ":9245", 1) + someVoters, voters + "it tells the others to reach this node as 2@localhost:9244"},
		{"a broker of a network", strings.Replace(aBroker, "localhost", "", 1) + someVoters, "cluster.secret.file: it must be set, as the listener PLAINTEXT://:9092" + outside},
		{"a controller elsewhere", aBroker + "controller.quorum.bootstrap.servers=elsewhere:1", "cluster.secret.file: it must be set, as the controller elsewhere:1" + outside},
		{"rare heartbeats", aBroker + someVoters + "broker.heartbeat.interval.ms=5000", "test.properties:6: broker.heartbeat.interval.ms: it must be less than"},
	} {
		_, err := New(properties(t, c.text))
		if err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: %v\nwant %s", c.rule, err, c.want)
			continue
		}
		if strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: several lines: %v", c.rule, err)
		}
	}
}
