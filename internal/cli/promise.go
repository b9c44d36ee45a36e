package cli

import "strconv"

// promise says what an acknowledged record survives at one level of acks.
type promise struct {
	Acks     string `json:"acks"`
	Answered string `json:"answered_when"`
	Survives string `json:"survives"`
}

// ackDurability is the config that a Moldau broker has and Apache Kafka does not.
const ackDurability = "ack.durability"

// durability returns what counts of a topic's configs: auto, fsync or os. A broker
// without ack.durability does what os does.
func durability(configs map[string]string) string {
	if configs["flush.messages"] == "1" {
		return "fsync"
	}
	if d := configs[ackDurability]; d != "" {
		return d
	}
	return "os"
}

// promises returns the rows of the design's table of acknowledgements that apply to a
// topic with these configs and this many replicas.
func promises(configs map[string]string, replicas int) []promise {
	all := promise{Acks: "all"}
	switch durability(configs) {
	case "fsync":
		all.Answered = "every in-sync replica has synced it to disk"
		all.Survives = "a killed process; power loss of the whole site"
	case "auto":
		all.Answered, all.Survives = autoPromise(replicas)
	default:
		all.Answered = "the operating system of every in-sync replica has it"
		all.Survives = "a killed process; lost with the power of its machine"
		if replicas > 1 {
			all.Survives = "a killed process; the loss of a machine while another is in sync"
		}
	}
	if least, err := strconv.Atoi(configs["min.insync.replicas"]); err == nil && least > 1 {
		all.Answered += "; refused where fewer than " + strconv.Itoa(least) + " are in sync"
	}
	return []promise{
		all,
		{"1", "the leader's operating system has it", "a killed process; lost with the leader's machine"},
		{"0", "never", "nothing is promised"},
	}
}

func autoPromise(replicas int) (answered, survives string) {
	if replicas == 1 {
		return "its one replica has synced it to disk", "a killed process; power loss"
	}
	answered = "the operating system of every in-sync replica has it; where only one is in sync, once that one has synced it to disk"
	if replicas == 2 {
		return answered, "a killed process; the loss of one machine while both are in sync"
	}
	return answered, "a killed process; the loss of any one machine, disk included"
}
