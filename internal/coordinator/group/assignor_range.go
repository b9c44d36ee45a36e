package group

// assignRange gives each member a range of each topic that it subscribes to, as long as the others' or one longer.
// Members that subscribe to the same topics get the same ranges of those with the same number of partitions.
func assignRange(spec *groupSpec) []assignment {
	d := newDistribution(spec)
	subscribers := make([]int, len(spec.topics))
	for i := range spec.members {
		for _, topic := range spec.members[i].topics {
			subscribers[topic]++
		}
	}
	next := make([]int, len(spec.topics))   // the first partition that is open
	served := make([]int, len(spec.topics)) // members that have their range
	for _, member := range spec.bySeniority() {
		for _, topic := range spec.members[member].topics {
			partitions := int(spec.topics[topic].partitions)
			length := partitions / subscribers[topic]
			if served[topic] < partitions%subscribers[topic] {
				length++
			}
			served[topic]++
			for range length {
				d.give(topic, next[topic], member)
				next[topic]++
			}
		}
	}
	return d.assignments()
}
