package config

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// plaintext is the one security protocol that is built.
const plaintext = "PLAINTEXT"

var securityProtocols = []string{plaintext, "SSL", "SASL_PLAINTEXT", "SASL_SSL"}

// parseListeners reads NAME://HOST:PORT elements (Java: SocketServerConfigs.listenerListToEndPoints).
func parseListeners(list []string) ([]Listener, error) {
	var listeners []Listener
	for _, e := range list {
		name, address, ok := strings.Cut(e, "://")
		host, port, err := splitHostPort(address)
		if !ok || name == "" || err != nil || port > 65535 || strings.ContainsAny(host, "/@ ") {
			return nil, fmt.Errorf("%q is not NAME://HOST:PORT", e)
		}
		listeners = append(listeners, Listener{Name: strings.ToUpper(name), Host: host, Port: port})
	}
	return listeners, nil
}

// resolveListeners fills the listeners (Java: AbstractKafkaConfig and KafkaConfig.validateValues).
func (b *Broker) resolveListeners() error {
	all, err := parseListeners(b.values.list("listeners"))
	if err == nil {
		err = checkDistinct(all)
	}
	if err != nil {
		return b.problem("listeners", "%v", err)
	}
	controllers := upper(b.values.list("controller.listener.names"))
	b.Listeners, b.ControllerListeners = nil, nil
	for _, l := range all {
		if slices.Contains(controllers, l.Name) {
			b.ControllerListeners = append(b.ControllerListeners, l)
		} else {
			b.Listeners = append(b.Listeners, l)
		}
	}
	if err := b.checkRoleListeners(controllers); err != nil {
		b.Listeners, b.ControllerListeners = nil, nil // what else is wrong with them does not matter
		return err
	}
	if err = b.checkProtocols(all, controllers); !b.Roles.Broker {
		return errors.Join(err, b.resolveControllerAt())
	}
	return errors.Join(err, b.resolveAdvertised(controllers), b.resolveInterBroker())
}

// checkRoleListeners wants those listeners that the roles of the node need, and no others.
func (b *Broker) checkRoleListeners(controllers []string) error {
	const name = "controller.listener.names"
	switch {
	case b.Roles.Broker && len(b.Listeners) == 0:
		return b.problem("listeners", "it must name a listener that is not one of controller.listener.names, for clients")
	case !b.Roles.Controller && len(b.ControllerListeners) > 0:
		return b.problem("listeners", "%s is one of controller.listener.names, and process.roles is broker; a broker alone has no listener of controllers: delete it here", b.ControllerListeners[0])
	case !b.Roles.Controller && len(controllers) == 0:
		return b.problem(name, "it must name the listener of the controllers; add the line controller.listener.names=CONTROLLER")
	case !b.Roles.Controller:
		return nil
	case !b.Roles.Broker && len(b.ControllerListeners) == 0:
		return b.problem("listeners", "it must name a listener for the other nodes, one of controller.listener.names; set it to CONTROLLER://HOST:PORT, and controller.listener.names to CONTROLLER")
	case !b.Roles.Broker && len(b.Listeners) > 0:
		return b.problem("listeners", "%s is not one of controller.listener.names, and process.roles is controller; a controller alone has no listener for clients: delete it here", b.Listeners[0])
	case len(controllers) > 0 && len(b.ControllerListeners) == 0:
		return b.problem(name, "%s is not one of listeners; add %s://HOST:PORT there", controllers[0], controllers[0])
	}
	return nil
}

func upper(names []string) []string {
	for i := range names {
		names[i] = strings.ToUpper(names[i])
	}
	return names
}

// checkDistinct refuses a name or a port that stands twice; an IPv4 and an IPv6
// address may share a port (KIP-797).
func checkDistinct(all []Listener) error {
	for i, l := range all {
		for _, other := range all[:i] {
			if l.Name == other.Name && !(l.Port == other.Port && bothFamilies(l.Host, other.Host)) {
				return fmt.Errorf("%s stands there twice; every listener needs a name of its own", l.Name)
			}
			if l.Port == other.Port && l.Port != 0 && !bothFamilies(l.Host, other.Host) {
				return fmt.Errorf("%s and %s have the same port; every listener needs one of its own", other, l)
			}
		}
	}
	return nil
}

func bothFamilies(a, b string) bool {
	x, errX := netip.ParseAddr(a)
	y, errY := netip.ParseAddr(b)
	return errX == nil && errY == nil && x.Is4() != y.Is4()
}

// checkProtocols refuses every listener that is not plaintext. Where no map is set, a
// controllers' listener that is no protocol's name is plaintext, as in Kafka.
func (b *Broker) checkProtocols(all []Listener, controllers []string) error {
	const name = "listener.security.protocol.map"
	protocols := make(map[string]string)
	for _, e := range splitList(strings.TrimSpace(b.values.str(name))) {
		listener, protocol, ok := strings.Cut(e, ":")
		listener, protocol = strings.ToUpper(strings.TrimSpace(listener)), strings.ToUpper(strings.TrimSpace(protocol))
		if !ok || listener == "" || !slices.Contains(securityProtocols, protocol) {
			return b.problem(name, "%q is not LISTENER:PROTOCOL with one of %s", e, strings.Join(securityProtocols, ", "))
		}
		protocols[listener] = protocol
	}
	for _, l := range all {
		protocol, ok := protocols[l.Name]
		if !ok && !b.values.explicit(name) && slices.Contains(controllers, l.Name) {
			protocol, ok = plaintext, true
		}
		switch {
		case !ok:
			return b.problem(name, "it says nothing of the listener %s; add %s:PLAINTEXT", l.Name, l.Name)
		case protocol != plaintext:
			return b.problem("listeners", "%s is a listener with %s, and encryption and authentication are not built yet; only PLAINTEXT is", l.Name, protocol)
		}
	}
	return nil
}

func (b *Broker) resolveAdvertised(controllers []string) error {
	const name = "advertised.listeners"
	if !b.values.explicit(name) {
		for _, l := range b.Listeners {
			if isAny(l.Host) {
				l.Host = "" // every interface is no address that a client could dial
			}
			b.Advertised = append(b.Advertised, l)
		}
		return nil
	}
	given, err := parseListeners(b.values.list(name))
	if err != nil {
		return b.problem(name, "%v", err)
	}
	b.Advertised = nil
	for _, l := range b.Listeners {
		at := slices.IndexFunc(given, func(g Listener) bool { return g.Name == l.Name })
		if at < 0 {
			continue // a listener that clients are not told of
		}
		if isAny(given[at].Host) {
			return b.problem(name, "%s cannot be dialled; give a name or address that clients reach", given[at])
		}
		b.Advertised = append(b.Advertised, given[at])
	}
	for _, g := range given {
		known := slices.ContainsFunc(b.Listeners, func(l Listener) bool { return l.Name == g.Name })
		if !known && !slices.Contains(controllers, g.Name) {
			return b.problem(name, "%s is not one of listeners; add it there or delete it here", g.Name)
		}
	}
	if len(b.Advertised) == 0 {
		return b.problem(name, "no listener for clients is among them; add %s://HOST:PORT", b.Listeners[0].Name)
	}
	return nil
}

// resolveControllerAt finds the first listener of a controller alone in advertised.listeners.
func (b *Broker) resolveControllerAt() error {
	const name = "advertised.listeners"
	if !b.values.explicit(name) {
		return nil
	}
	given, err := parseListeners(b.values.list(name))
	if err != nil {
		return b.problem(name, "%v", err)
	}
	for _, l := range given {
		if l.Name == b.ControllerListeners[0].Name && l.Host != "" && !isAny(l.Host) {
			b.ControllerAt = l
			break
		}
	}
	return nil
}

func isAny(host string) bool {
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.IsUnspecified()
}

func (b *Broker) resolveInterBroker() error {
	const name = "inter.broker.listener.name"
	chosen := strings.ToUpper(b.values.str(name))
	advertised := func(l Listener) bool { return l.Name == chosen }
	switch {
	case chosen != "" && b.values.explicit("security.inter.broker.protocol"):
		return b.problem(name, "security.inter.broker.protocol says the same; delete one of the two")
	case chosen == "":
		chosen = b.values.str("security.inter.broker.protocol")
		if !slices.ContainsFunc(b.Advertised, advertised) && len(b.Advertised) == 1 {
			chosen = b.Advertised[0].Name
		}
	}
	if len(b.Advertised) > 0 && !slices.ContainsFunc(b.Advertised, advertised) {
		return b.problem(name, "%s is not advertised; name one of the listeners that are", chosen)
	}
	b.InterBrokerListener = chosen
	return nil
}
