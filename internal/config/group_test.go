package config

import (
	"strings"
	"testing"
)

// TestValidateGroup: a group's settings are within the bounds of the broker, and fit each other.
func TestValidateGroup(t *testing.T) {
	b := newBroker(t, base(t), properties(t, "group.consumer.max.session.timeout.ms=90000\ngroup.consumer.max.heartbeat.interval.ms=70000"))
	schema := NewSchema(func() *Broker { return b })
	for _, c := range []struct {
		set  map[string]string
		want string // in the error; "" for none
	}{
		{map[string]string{}, ""},
		{map[string]string{"consumer.session.timeout.ms": "90000", "consumer.heartbeat.interval.ms": "70000", "consumer.assignment.interval.ms": "0"}, ""},
		{map[string]string{"consumer.session.timeout.ms": "90001"}, "group.consumer.max.session.timeout.ms=90000"},
		{map[string]string{"consumer.session.timeout.ms": "44999"}, "group.consumer.min.session.timeout.ms=45000"},
		{map[string]string{"consumer.heartbeat.interval.ms": "4999"}, "group.consumer.min.heartbeat.interval.ms=5000"},
		{map[string]string{"consumer.heartbeat.interval.ms": "45000"}, "has to be less than"},
		{map[string]string{"consumer.assignment.interval.ms": "15001"}, "group.consumer.max.assignment.interval.ms=15000"},
		{map[string]string{"consumer.assignment.interval.ms": "x"}, "whole number"},
		{map[string]string{"consumer.sesion.timeout.ms": "1"}, "consumer.session.timeout.ms"},
		{map[string]string{"share.session.timeout.ms": "45000"}, "share.session.timeout.ms"},
	} {
		err := schema.ValidateGroup(c.set)
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%v: %v, want %q", c.set, err, c.want)
		}
	}
}

// TestBrokersGroupBounds: a default outside of its bounds stops the start.
func TestBrokersGroupBounds(t *testing.T) {
	for _, text := range []string{
		"group.consumer.session.timeout.ms=44999", "group.consumer.heartbeat.interval.ms=15001", "group.consumer.min.assignment.interval.ms=2000",
		"group.consumer.assignors=", "group.consumer.assignors=nosuch", "group.consumer.migration.policy=sideways",
		"group.consumer.heartbeat.interval.ms=45000\ngroup.consumer.max.heartbeat.interval.ms=45000",
	} {
		if _, err := New(base(t), properties(t, text)); err == nil {
			t.Errorf("%q is accepted", text)
		}
	}
	b := newBroker(t, base(t), properties(t, "group.consumer.migration.policy=Upgrade\ngroup.coordinator.rebalance.protocols=classic"))
	if b.Groups.ConsumerMigrationPolicy != "upgrade" || b.ConsumerProtocol {
		t.Errorf("policy %s, consumer protocol %v", b.Groups.ConsumerMigrationPolicy, b.ConsumerProtocol)
	}
	b = b.With(Dynamic{ClusterDefault: map[string]string{"group.consumer.assignment.interval.ms": "7"}})
	if got := b.Groups.ConsumerAssignmentIntervalMs.Default; got != 7 {
		t.Errorf("interval %d", got)
	}
}

func TestDescribeGroup(t *testing.T) {
	b := newBroker(t, base(t), properties(t, "group.consumer.heartbeat.interval.ms=6000"))
	want := map[string]string{"consumer.assignment.interval.ms": "1000 5", "consumer.heartbeat.interval.ms": "6000 4", "consumer.session.timeout.ms": "50000 8"}
	for _, d := range b.DescribeGroup(map[string]string{"consumer.session.timeout.ms": "50000"}) {
		if got := *d.Value + " " + string(rune('0'+d.Source)); got != want[d.Name] {
			t.Errorf("%s: %s, want %s", d.Name, got, want[d.Name])
		}
		delete(want, d.Name)
	}
	if len(want) > 0 {
		t.Errorf("not described: %v", want)
	}
}
