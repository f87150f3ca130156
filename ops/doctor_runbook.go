package ops

// section is what is said of a finding besides what was seen. docs/operations.md has a section of the same
// name for each; a test holds them equal.
type section struct {
	why  string // it matters
	fine string // what was seen where all is well, if the check says nothing else
}

// runbook returns the sections by the ids of the findings.
func runbook() map[string]section {
	return map[string]section{
		// The server.
		"server-version":         {why: "The guard's tables and its cleanup need what older servers lack."},
		"encoding":               {why: "Event ids are hashed by their bytes in UTF-8: in another encoding SQL and services have other keys for one event id. The tables cannot be created here.", fine: "the encoding is UTF8"},
		"standby":                {why: "A standby takes no writes: nothing can be claimed. What is read here can be behind the primary.", fine: "the server is a primary"},
		"read-only":              {why: "Nothing can be claimed: each transaction ends with an error.", fine: "transactions can write"},
		"fsync-off":              {why: "A crash of the operating system or of the machine can destroy the whole database.", fine: "fsync is on"},
		"full-page-writes-off":   {why: "A crash of the operating system or of the machine can leave pages of which one half is old.", fine: "full_page_writes is on"},
		"synchronous-commit-off": {why: "A crash of the server loses the commits of its last moments. Consumers with checkpoints notice and read again; those of mode ByEventID skip what is lost. Effects outside the transaction happen again.", fine: "a COMMIT waits until it is written"},
		"standby-missing":        {why: "Each COMMIT waits for a standby that is not there: nothing is processed.", fine: "no COMMIT waits for a standby that is away"},
		"standby-asynchronous":   {why: "At a failover the commits are lost that the standby has not received. Consumers with checkpoints notice and read again, so that each record takes effect once; those of mode ByEventID skip what is lost. Effects outside the transaction happen again.", fine: "there is no standby, or a COMMIT waits for one"},
		"clock":                  {why: "Retention counts by the server's clock; the ids of claims and dead letters come from this machine's. Filters such as --since choose others than meant.", fine: "the clocks agree"},

		// This connection.
		"pooler-mode":                 {why: "The claim and the business write are one transaction, which statement mode does not allow.", fine: ""},
		"prepared-statements":         {why: "pgx prepares statements in one session and runs them in another: calls end with SQLSTATE 26000 or 42P05.", fine: "prepared statements are found again, or are not used"},
		"statement-timeout":           {why: "A claim waits for the transaction that has the event, and a handler's statements take their time. Those that take longer than the limit fail, are tried again, and can become dead letters.", fine: "it leaves a handler its time"},
		"lock-timeout":                {why: "A claim waits for the transaction that has the event. If that takes longer than the limit the claim fails and is tried again, while nothing else of the partition is processed.", fine: "it leaves a handler its time"},
		"idle-in-transaction-timeout": {why: "A handler that does something else than SQL for longer loses its transaction, each time: its record becomes a dead letter.", fine: "it leaves a handler its time"},
		"transaction-timeout":         {why: "A handler that takes longer loses its transaction, each time: its record becomes a dead letter.", fine: "it leaves a handler its time"},
		"connections-used":            {why: "Once all are in use, services cannot connect: partitions wait.", fine: "there are connections left"},

		// The tables.
		"schema-version":  {why: "Services refuse to start on tables that are missing or too old."},
		"rights":          {why: "Calls that need a right which the role lacks end with \"permission denied\". Nothing is processed, or nothing is forgotten.", fine: "the role has all rights that a service needs"},
		"row-security":    {why: "A policy hides rows. A claim that is hidden cannot be told from one that is not there, and a checkpoint that is hidden counts as gone.", fine: "row security is off"},
		"owners":          {why: "A migration changes all of these, which takes the role that owns them.", fine: ""},
		"sequence-behind": {why: "Logical replication copies rows and leaves sequences where they are. The next insert takes a number that is taken.", fine: "no sequence is behind its column"},
		"cleanup-row":     {why: "Whoever cleans up locks the row. Without it nobody forgets expired events: the table grows without end.", fine: "there is the row that whoever cleans up locks"},

		// Vacuum.
		"autovacuum-off":   {why: "Expired events leave dead rows, and each advance of a checkpoint another: without vacuum the tables grow without end, and in the end the server takes no more writes (wraparound).", fine: "autovacuum is on"},
		"dead-rows":        {why: "Dead rows take up room, and make cleanup and the claims of random ids slower.", fine: "vacuum keeps up"},
		"wraparound":       {why: "At about 2,100 million transactions the server takes no more writes at all.", fine: "vacuum freezes rows in time"},
		"long-transaction": {why: "Vacuum removes no row that died since it began, in no table of the database. If it holds a claim or a partition, others wait for it.", fine: "no transaction is open for long"},
		"replication-slot": {why: "The server keeps its log for it until the disk is full, and perhaps dead rows too.", fine: "no replication slot is unused"},

		// Consumers.
		"consumer-closed":       {why: "The consumer cannot be registered: its services end with ErrConsumerClosed.", fine: "no consumer is being renamed or deleted"},
		"consumer-unknown":      {why: "A service runs under a name that its consumer had. Nobody forgets what it claims, and under the new name the same events are processed again.", fine: "all events are of consumers that are known"},
		"consumer-paused":       {why: "Its services run and process nothing: its records wait in Kafka until they expire.", fine: "no consumer is paused"},
		"consumer-quiet":        {why: "Nobody may be running it: its records wait in Kafka until they expire. Or nothing came.", fine: "each consumer has done something lately, or has members in its group"},
		"expired-events":        {why: "Nobody forgets them: the table grows without end.", fine: "expired events are forgotten"},
		"unused-room":           {why: "The room is paid for, backed up and read by whatever reads the whole table.", fine: "there is not much unused room"},
		"dead-letter-forgotten": {why: "The event that was stored as a dead letter is forgotten meanwhile. If it is produced again it is processed, ahead of its dead letter, which is then superseded.", fine: "no dead letter is older than what is remembered"},
		"outbox-lag":            {why: "What services have said of their commits has not come to Kafka.", fine: "no record of the outbox waits for long"},
		"outbox-failed":         {why: "Kafka refuses the records. They, and later ones of their keys, come to nobody until somebody decides.", fine: "Kafka refuses no record of the outbox"},
		"leases-undecided":      {why: "Their effects outside the transaction have happened or not: nothing is done about them until somebody decides.", fine: "no effect waits for a decision"},
		"partition-unowned":     {why: "Nobody processes the partition: its records wait in Kafka until they expire.", fine: "each checkpoint has an owner"},
		"record-kills":          {why: "The record, or what else is done at that time, may be killing the processes that begin with it. The partition stands still meanwhile.", fine: "no owner has ended at the record that it began with"},
		"connections-needed":    {why: "With fewer connections partitions take turns, and services may fail to connect.", fine: "there are enough for the consumers that are known"},

		// Kafka.
		"kafka-unreachable":       {why: "Nothing is known of the groups and topics.", fine: "the brokers answer"},
		"group-elsewhere":         {why: "A consumer belongs to one group of one cluster. A service that uses these brokers ends with a BindingError.", fine: "the groups are of this cluster"},
		"group-empty":             {why: "Nobody consumes: records wait until they expire.", fine: "the groups have members"},
		"group-protocol":          {why: "The group cannot be joined: services end with INCONSISTENT_GROUP_PROTOCOL.", fine: "the groups are of consumers"},
		"topic-missing":           {why: "The service ends with ErrUnknownTopic, or waits for the topic.", fine: "the topics are there"},
		"topic-retention":         {why: "A record can come back after its event id is forgotten, and is then processed again. Where there is a checkpoint, that takes one that is set back, or a record that is produced again; in mode ByEventID a group that is set back is enough.", fine: "records expire before their event ids are forgotten"},
		"topic-durability":        {why: "Records that Kafka has acknowledged are lost with one broker. The log is then shorter than the checkpoint.", fine: "acknowledged records survive the loss of a broker"},
		"unclean-election":        {why: "A broker that lacks records can become the leader. The log then has others in their places, and consumers stop with ErrOffsetOutOfRange.", fine: "only brokers that have all records become leaders"},
		"offsets-retention":       {why: "A group that stands still for longer begins anew, at the beginning or at the end (Config.Start).", fine: "no offset that matters is forgotten soon"},
		"offset-ahead":            {why: "The database knows less than the group: records between the two are read again, or passed over, by who moved the group.", fine: "no group is ahead of its checkpoints"},
		"offset-behind":           {why: "The checkpoint decides where a partition goes on. Who moved the group expects something else.", fine: "nobody has moved a group back"},
		"checkpoint-gone":         {why: "These are not the tables in which the group's progress was kept: the service ends with ErrCheckpointGone.", fine: "the groups' offsets have their checkpoints"},
		"checkpoint-out-of-range": {why: "The records that come next are not there: the service ends with ErrOffsetOutOfRange, or passes over them by its policy.", fine: "the logs hold what comes next"},
		"checkpoint-stuck":        {why: "Records wait, and more come. A slow handler looks the same as one that hangs.", fine: "checkpoints move where records wait"},
	}
}
