// Package console is a web page over the guard's tables: what consumers do right now, how far their partitions are,
// what became of an event, dead letters, leases and the outbox and what to do about them, and the checks of the doctor. "idemctl console"
// serves it; a service can mount it in its own server, behind its own login.
//
//	handler, err := console.Handler(console.Config{Client: client, Authorize: authorize, Logger: log})
//	mux.Handle("/console/", http.StripPrefix("/console", handler))
//
// The path that it is mounted at must end in a slash. The pages need no JavaScript; with it they follow what the
// tables say. The console has no state of its own: several of them may serve one database.
//
// # Who may do what
//
// Config.Authorize decides for each request. Without User.Change nothing is changed, and without User.Payloads the
// keys, header values and values of records, and the results of steps, are not shown. Event ids and the texts of errors always are: they may hold
// personal data, too.
//
// # Changes
//
// What changes dead letters shows first what it would do, and does that when it is confirmed, or nothing if other dead
// letters would be changed by then. A decision about records of the outbox is confirmed for each of them, and made for those about which
// nobody else has decided. Each change is logged, by whom and with what result.
//
// # Safety
//
// Requests of other sites are refused, and so are hosts that the console is not known by. Pages run no script and no
// style but the console's own, are shown in no frame and kept in no cache. Sizes of requests, lists, payloads
// and the number of viewers are bounded. The server is the caller's: set its timeouts.
package console
