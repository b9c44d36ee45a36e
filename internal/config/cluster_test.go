package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/peer"
)

// three is the file of a node of three on this machine, after other lines.
func three(lines ...string) string {
	return strings.Join(append(lines, "node.id=2", "controller.quorum.voters=1@127.0.0.1:9243,2@127.0.0.1:9244,3@localhost:9245",
		"listeners=PLAINTEXT://127.0.0.1:9193,CONTROLLER://[::1]:9244", "controller.listener.names=CONTROLLER"), "\n")
}

// secretFile writes a file of that mode and returns its name.
func secretFile(t *testing.T, content string, mode os.FileMode) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(name, mode); err != nil { // whatever the umask is
		t.Fatal(err)
	}
	return name
}

// TestKafkasFileOfThreeNodes: that of a combined node is taken as it is.
func TestKafkasFileOfThreeNodes(t *testing.T) {
	b := newBroker(t, readTestdata(t, "three-nodes.properties"))
	if want := []Voter{{1, "127.0.0.1", 9243}, {2, "127.0.0.1", 9244}, {3, "127.0.0.1", 9245}}; b.NodeID != 2 || !slices.Equal(b.Voters, want) {
		t.Errorf("node %d, voters %v", b.NodeID, b.Voters)
	}
	if want := []Listener{{"CONTROLLER", "127.0.0.1", 9244}}; !slices.Equal(b.ControllerListeners, want) {
		t.Errorf("controller listeners %v", b.ControllerListeners)
	}
	if b.SessionTimeout != 3*time.Second || b.HeartbeatInterval != 500*time.Millisecond || !b.Secret.IsZero() || len(b.Warnings) != 0 {
		t.Errorf("%v %v %v %v", b.SessionTimeout, b.HeartbeatInterval, b.Secret, b.Warnings)
	}
}

// TestSeveralVoters: what is enough for a cluster, on this machine and, with a secret, anywhere.
func TestSeveralVoters(t *testing.T) {
	secret := peer.NewSecret()
	file := secretFile(t, "\n "+secret.Text()+"\n", 0o640)
	anywhere := "node.id=0\ncontroller.quorum.voters=0@a:1,1@b:1,2@[2001:db8::1]:1,3@10.0.0.1:1,4@d:1\nlisteners=PLAINTEXT://:9092,C://0.0.0.0:1\n" +
		"controller.listener.names=C\ncluster.secret.file=" + file
	for _, c := range []struct {
		rule, text string
		voters     int
		secret     peer.Secret
	}{
		{"loopback", three(), 3, peer.Secret{}},
		{"loopback with a secret", three("cluster.secret.file=" + file), 3, secret},
		{"anywhere with a secret", anywhere, 5, secret},
		{"one voter anywhere", "node.id=1\ncontroller.quorum.voters=1@a:1", 1, peer.Secret{}},
		{"one voter with a secret", "node.id=1\ncluster.secret.file=" + file, 1, secret},
		{"Kafka's interval with one voter", "node.id=1\nbroker.heartbeat.interval.ms=5000", 1, peer.Secret{}},
		{"controllers by both names", three("controller.quorum.bootstrap.servers=127.0.0.1:9243,127.0.0.1:9244"), 3, peer.Secret{}},
	} {
		b, err := New(properties(t, c.text))
		if err != nil {
			t.Errorf("%s: %v", c.rule, err)
			continue
		}
		if len(b.Voters) != c.voters || b.Secret != c.secret {
			t.Errorf("%s: voters %v, the secret as given: %v", c.rule, b.Voters, b.Secret == c.secret)
		}
	}
	b := newBroker(t, properties(t, three("broker.session.timeout.ms=9000\nbroker.heartbeat.interval.ms=2000")))
	if b.SessionTimeout != 9*time.Second || b.HeartbeatInterval != 2*time.Second {
		t.Errorf("%v, %v", b.SessionTimeout, b.HeartbeatInterval)
	}
}

// TestClusterRefused: a node that could not be one of its cluster, or would trust strangers, says so and how to mend it.
func TestClusterRefused(t *testing.T) {
	replaced := func(old, new string) string { return strings.Replace(three(), old, new, 1) }
	const voters = "test.properties:2: controller.quorum.voters: "
	const outside = " is not on a loopback address and nodes without a secret trust whoever reaches them; type: moldau secret new --out cluster.secret, and copy that file to every node"
	good := peer.NewSecret().Text()
	for _, c := range []struct{ rule, text, want string }{
		{"two voters", "node.id=1\ncontroller.quorum.voters=1@localhost:1,2@localhost:2", voters + "it names 2 voters; name one, three or five"},
		{"four voters", "node.id=1\ncontroller.quorum.voters=1@a:1,2@a:2,3@a:3,4@a:4", voters + "it names 4 voters"},
		{"seven voters", "node.id=1\ncontroller.quorum.voters=1@a:1,2@a:2,3@a:3,4@a:4,5@a:5,6@a:6,7@a:7", voters + "it names 7 voters"},
		{"a node twice", replaced("3@localhost:9245", "2@localhost:9245"), voters + "node 2 stands there twice, as 2@127.0.0.1:9244 and 2@localhost:9245"},
		{"an address twice", replaced("3@localhost:9245", "3@127.0.0.1:9244"), voters + "2@127.0.0.1:9244 and 3@127.0.0.1:9244 have the same address"},
		{"no port", replaced("3@localhost:9245", "3@localhost:0"), voters + "3@localhost:0 cannot be dialled; give an address and a port that the others reach"},
		{"no address", replaced("3@localhost:9245", "3@0.0.0.0:9245"), voters + "3@0.0.0.0:9245 cannot be dialled"},
		{"an impossible port", replaced("3@localhost:9245", "3@localhost:65536"), voters + `"3@localhost:65536" is not ID@HOST:PORT`},
		{"another node", replaced("node.id=2", "node.id=4"), voters + "this is node.id=4, which is no voter, and process.roles is broker,controller; a controller is one of the voters: set node.id to that of one, or process.roles to broker"},
		{"no listener for controllers", "node.id=2\ncontroller.quorum.voters=1@localhost:1,2@localhost:2,3@localhost:3\nlisteners=PLAINTEXT://localhost:9",
			"controller.listener.names: it must name a listener for the other voters; add the line controller.listener.names=CONTROLLER, and CONTROLLER://HOST:2 to listeners"},
		{"a listener for controllers that is none", replaced(",CONTROLLER://[::1]:9244", ""), "test.properties:4: controller.listener.names: CONTROLLER is not one of listeners; add CONTROLLER://HOST:PORT there"},
		{"the port of another voter", replaced("[::1]:9244", "[::1]:9243"), voters + "it tells the others to reach this node as 2@127.0.0.1:9244, and CONTROLLER://[::1]:9243 has another port; both must have the same"},
		{"heartbeats as rare as the session is long", "broker.heartbeat.interval.ms=3000\n" + three(), "test.properties:1: broker.heartbeat.interval.ms: it must be less than broker.session.timeout.ms, which is 3000, or every broker would be fenced between two heartbeats"},
		{"no heartbeats", "broker.heartbeat.interval.ms=0\n" + three(), "test.properties:1: broker.heartbeat.interval.ms=0: it must be at least 1"},
		{"no session", "broker.session.timeout.ms=0\n" + three(), "test.properties:1: broker.session.timeout.ms=0: it must be at least 1"},

		{"clients from everywhere", replaced("//127.0.0.1:9193", "//:9193"), "cluster.secret.file: it must be set, as the listener PLAINTEXT://:9193" + outside},
		{"clients of a network", replaced("//127.0.0.1:9193", "//192.168.0.1:9193"), "cluster.secret.file: it must be set, as the listener PLAINTEXT://192.168.0.1:9193" + outside},
		{"controllers of a network", replaced("[::1]:9244", "0.0.0.0:9244"), "cluster.secret.file: it must be set, as the listener CONTROLLER://0.0.0.0:9244" + outside},
		{"a voter elsewhere", replaced("3@localhost:9245", "3@elsewhere:9245"), "cluster.secret.file: it must be set, as the voter 3@elsewhere:9245" + outside},

		{"no such secret", "node.id=1\ncluster.secret.file=/nowhere/s", "test.properties:2: cluster.secret.file: open /nowhere/s: no such file or directory; copy the file of another node there or, on the first, type: moldau secret new --out /nowhere/s"},
		{"a directory", "node.id=1\ncluster.secret.file=/", "test.properties:2: cluster.secret.file: / is no regular file"},
		{"a secret that all can read", "node.id=1\ncluster.secret.file=" + secretFile(t, good, 0o604), "test.properties:2: cluster.secret.file: others can read or change "},
		{"a secret that the group can change", "node.id=1\ncluster.secret.file=" + secretFile(t, good, 0o660), "test.properties:2: cluster.secret.file: others can read or change "},
		{"another file", "node.id=1\ncluster.secret.file=" + secretFile(t, "password", 0o600), "test.properties:2: cluster.secret.file: " + os.TempDir()},
		{"no secret in the file", three("cluster.secret.file=" + secretFile(t, "", 0o600)), "test.properties:1: cluster.secret.file: "},
	} {
		_, err := New(properties(t, c.text))
		if err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%s: %v\nwant %s", c.rule, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), good) {
			t.Errorf("%s: the secret is in the error", c.rule)
		}
	}
}
