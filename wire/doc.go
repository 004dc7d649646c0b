// Package wire is Lantage's protocol: the only thing that client and builder must agree on. This comment is
// its specification; a second implementation should be possible from it alone.
//
// # Carrier
//
// Any ordered, reliable byte stream in both directions: TLS 1.3 over a TCP connection (port 8473 by default; package trust has
// the details), TCP alone where both ends were told so, a pipe in a test. Who the peer is says the carrier; one that does not
// encrypt says nothing. No request is answered before both sides have sent a preface and a hello.
//
// # Preface
//
// Each side sends 12 bytes at once, without waiting for the other:
//
//	bytes 0..7   "LANTAGE\n"
//	bytes 8..9   the oldest protocol version it speaks, big endian
//	bytes 10..11 the newest protocol version it speaks, big endian
//
// Both then speak the smaller of the two newest versions. When that is older than what one side can speak,
// each ends the connection with ErrPeerOlder or ErrPeerNewer; other first bytes are ErrNotLantage. The three
// are different because the user does three different things about them.
//
// # Frames
//
//	byte 0     type
//	bytes 1..4 length of the body, big endian
//	bytes 5..  body
//
// Bodies of control frames are one JSON object of at most MaxControl bytes, that of each side's first frame of at
// most MaxHello; a ping has none. A data frame's body is one byte that names the stream and at most MaxData bytes of
// it. An end frame's body is the stream's byte, the number of bytes that the stream had (8 bytes) and their CRC-32C
// (4 bytes, RFC 3720 appendix B.4), both big endian; nothing of that stream follows it. A longer frame, or one of an
// unknown type, ends the connection. Unknown JSON keys are ignored, so that a newer peer may say more.
//
// Both sides send a ping whenever they have sent nothing for PingInterval; a peer from which no byte came for
// DeadAfter is dead. Silence of a compile is therefore never mistaken for a lost builder. A frame that has
// begun must be whole within DeadAfter too, and one that the peer does not take within StallAfter ends the
// connection.
//
// # Conversation
//
//	client                                builder
//	------ preface, hello ------------->
//	<----- preface, hello --------------
//	submit (Job) ---------------------->
//	data/end of StreamInputs ---------->          tar.gz: the client's /etc/portage as etc/portage/…, and as
//	                                             repos/NAME/… the repositories that only the client has,
//	                                             and resolved/…
//	<------------------------ accepted            or error (declined, busy, bad request …)
//	<--------------------------- event            any number, in order, numbered from 1
//	<------------ data of StreamResults           tar.gz: a member for each binpkg, each after its result event
//	<---------------- data of StreamLog           only if the job asked for its log
//	<-------- end of StreamLog, Results
//	<---------------------------- done            the one and only sign that the job is over
//
// A file resolved/PATH of the inputs stands for /PATH, where the builder's base has a file: it is that file of the client,
// with compiler flags that mean the client's CPU (-march=native) written out. With the base "client" the inputs have only those.
//
// A repository that comes with the inputs is used instead of the builder's own of that name. Of the others, those that have a
// revision in the job must be in that state on the builder, which is compared as text: "commit HASH", "synced DATE", or
// "contents HASH"; gentoo.RepoRevision says of what.
//
// A member of StreamResults is named "binpkgs/" or "logs/" and then its Result's Path. Members come in the
// order of their result events, each after its own; other events may come in between.
//
// A connection has one of four requests, or none: submit, attach, cancel or pair, the first three after any number of syncs and at most
// one offer. On the connection that submits or watches a job a cancel of it may follow at any time; done then comes when the
// job has ended. A cancel that is the first request is answered by accepted, and by done when the job has ended;
// nothing else is sent.
//
// A job is not its connection. It goes on when the connection is lost; attach on a new one, with the job's
// ID, the number of the last event and the SHA-256 of the results that the client has, continues where it
// was: accepted, the events after the named one, and a member for each result that the client does not have,
// also for those that were declared on an earlier connection. A result that the client has is declared, if
// its event is due, and not sent. Both streams begin anew. The ID is 128 random bits that the client chose:
// who knows it, and has the key that it was submitted with, may attach and cancel. A connection that ends without done is a lost builder, which is another
// error than a build that failed.
//
// # The client's root
//
// A builder that offers the base "client" keeps copies of its clients' roots. Before a submit, or for its own sake,
// a client brings its copy up to date:
//
//	sync (Sync) ---------------------->
//	<------------------------------ copy          (Copy) what the builder has of this client
//	list (List) ---------------------->          unless that is all that is wanted; and
//	data/end of StreamList ----------->          gzip of the list of the root, or of what changed in it
//	<----------------------------- wants          (Wants), or error (no room …)
//	<--------- data/end of StreamWants           which files of the list it has not got in any form
//	data/end of StreamContents ------->          gzip of their contents, in the same order
//	                                             list … StreamContents again, if files changed while they were read
//	commit (Commit) ------------------>
//	<------------------------------ copy          the new copy is whole, verified, and in use from now on
//
// Each of these streams begins anew with each list. The format of a list is that of package rootfs. Whose root it is says the
// carrier's key; on a carrier without, Identity names the client and is a secret: who knows it may build on the copy. A sync with Forget is answered by a copy without a digest.
// What came of a sync that was cut short is kept, and not wanted again.
//
// # Distfiles
//
// What a job's packages need of distfiles, and the client has, is offered before the submit to a builder whose hello says
// that it takes distfiles:
//
//	offer (Offer) -------------------->          once or more; the last without More
//	<----------------------------- wants          (Wants), or error
//	<--------- data/end of StreamWants           which files of the offer it has not got
//	data/end of StreamDistfiles ------>          unless none is wanted: their contents, in the same order, not compressed
//	<---------------------------- stored          (Stored) unless none is wanted
//
// Positions count from 0 through all messages of an offer. A file that turns out on the way not to be what the Manifest
// says ends as one that changed, and is not kept. One for which the builder has no room is not wanted, and one that only others
// have sent is: who knows the sums need not have the file. On a carrier without keys Identity says who the client is. The job that is
// submitted on this connection may use the files of the offer that the builder has then, and it alone does: for the
// builder they are contents, which other jobs see under the names that their own clients offer. An offer is of the
// connection, not of the job: a job that is submitted again is preceded by its offer again.
//
// # Pairing
//
// While a builder's owner waits for a client to be paired, its hello says so, and a client whose user was told the code may ask:
//
//	pair (Message) -------------------->
//	<------------------------------ pair          (Message)
//	pair (Proof) ---------------------->          the client has the code
//	<------------------------------ pair          (Proof), so has the builder; or error
//
// What the messages are says package trust. From the builder's message on it is one of the tries that the owner gave.
//
// Either side may send error instead of any message, the hello too, and close. Codes are in error.go. Who has
// said the last word, done or error, ends its own direction only and waits a few seconds for the other side
// to close: what was sent last would else be lost with what was not yet read.
//
// # Version history
//
//	1  the first. Sync came later: it is only asked of builders whose hello offers the base "client", and
//	   offers of distfiles are made only to those whose hello says that they take them, and pair likewise.
package wire

import "time"

// Versions of the protocol that this package speaks.
const (
	OldestVersion = 1
	NewestVersion = 1
)

// Ceilings of what a peer may send. They stand together so that the memory that a peer can make us hold is
// seen at one glance: one control body or one data body for each connection, and before its hello no more than that.
const (
	MaxHello   = 64 << 10 // bytes of the hello, or of the error in its place
	MaxControl = 1 << 20  // bytes of one control body
	MaxData    = 64 << 10 // bytes of a stream in one data frame

	OfferFiles = 500    // distfiles in one Offer, so that it fits into a control body whatever their names are
	MaxOffer   = 10_000 // distfiles in all Offers of a connection
)

// Times by which a peer is judged. PingInterval is small enough for DeadAfter to survive two late pings.
// StallAfter is long because a client that takes nothing may be waiting for a slow disk.
const (
	PingInterval     = 5 * time.Second
	DeadAfter        = 20 * time.Second
	StallAfter       = 2 * time.Minute
	HandshakeTimeout = 10 * time.Second

	farewell = time.Second // for a peer that is refused before its hello
)

// DefaultPort is the builder's TCP port.
const DefaultPort = 8473
