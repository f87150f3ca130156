package apachekafka

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

const keyStoreFile = "keystore.pem"

// settings are those of one broker, which is a controller, too.
func (c *Cluster) settings(id int) map[string]string {
	n := len(c.nodes)
	var voters []string
	for _, node := range c.nodes {
		voters = append(voters, strconv.Itoa(node.id)+"@"+node.controllerAddr())
	}
	replicas, inSync := strconv.Itoa(min(n, 3)), strconv.Itoa(min(n, 2))
	node := c.node(id)

	settings := map[string]string{
		"process.roles":              "broker,controller",
		"node.id":                    strconv.Itoa(id),
		"controller.quorum.voters":   strings.Join(voters, ","),
		"controller.listener.names":  "CONTROLLER",
		"inter.broker.listener.name": "PLAINTEXT",
		"listeners":                  "PLAINTEXT://" + node.addr() + ",CONTROLLER://" + node.controllerAddr(),
		"advertised.listeners":       "PLAINTEXT://" + c.advertise(node.addr()),
		"log.dirs":                   c.home.Path(node.name()),

		"default.replication.factor":               replicas,
		"min.insync.replicas":                      inSync,
		"offsets.topic.replication.factor":         replicas,
		"transaction.state.log.replication.factor": replicas,
		"transaction.state.log.min.isr":            inSync,

		// The defaults are made for large clusters: 50 partitions each.
		"offsets.topic.num.partitions":         "1",
		"transaction.state.log.num.partitions": "1",

		// A killed broker that comes back is turned away until its predecessor is given up, and
		// its partitions get no other leader either. The default is 9 s.
		"broker.session.timeout.ms":    "3000",
		"broker.heartbeat.interval.ms": "500",

		// A topic with a mistake in its name is to be noticed.
		"auto.create.topics.enable": "false",

		// The default of 3 s is how long each new group would wait for more members.
		"group.initial.rebalance.delay.ms": "0",
	}
	if len(c.keyStore) > 0 {
		settings["listeners"] += ",SECURE://" + node.secureAddr()
		settings["advertised.listeners"] += ",SECURE://" + node.secureAddr()
		settings["listener.security.protocol.map"] = "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SECURE:SASL_SSL"
		settings["listener.name.secure.ssl.keystore.type"] = "PEM"
		settings["listener.name.secure.ssl.keystore.location"] = c.home.Path(keyStoreFile)
		settings["listener.name.secure.sasl.enabled.mechanisms"] = "SCRAM-SHA-512"
		settings["listener.name.secure.scram-sha-512.sasl.jaas.config"] = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
	}
	maps.Copy(settings, c.overrides)

	return settings
}

// properties writes settings as the text of a Java properties file.
func properties(settings map[string]string) []byte {
	escape := strings.NewReplacer(`\`, `\\`, "\n", `\n`)
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		text.WriteString(name + "=" + escape.Replace(settings[name]) + "\n")
	}

	return []byte(text.String())
}
