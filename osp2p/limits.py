"""Every number that a stranger can push on, in one frozen object.

A stranger is whoever is at the other end of a connection: a peer, a tracker, or a file name that one of them sent.
"""

from __future__ import annotations

from dataclasses import dataclass

SECONDS = 1.0
MINUTES = 60.0
KIB = 1024
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of one node. A test or a user replaces single fields with `dataclasses.replace`."""

    # --- lines and replies ---

    max_line: int = 4096
    """Longest line in bytes, LF not counted. Source: the 2007 programs."""

    max_reply_lines: int = 200_000
    """Most lines of one reply that we read: a page of LIST, or everybody in WHO."""

    max_reply_bytes: int = 32 * MIB
    """Most bytes of one reply that we read of a tracker."""

    max_peer_reply_lines: int = 20_000
    """Most lines of one reply that we read of a peer: the longest chunk list has 16,384."""

    max_peer_reply_bytes: int = 2 * MIB
    """Most bytes of one reply that we read of a peer, file bytes not counted: the longest chunk list has 1.3 MB."""

    max_base_reply: int = 4095
    """Most bytes of an answer to WANT or WHO without HELLO. Source: the old programs' one buffer of 4096."""

    max_base_peer_line: int = 256
    """Longest PEER line in bytes without HELLO; a longer one shows a shortened alias. Source: old peers' buffers."""

    max_same_host_share: float = 0.5
    """Largest part of an answer to a base client that one source address fills while there are others to name."""

    max_hello_peer_line: int = 600
    """Longest PEER line in bytes after HELLO, attributes not counted; a longer one shows a shortened alias. What is
    left of a line holds all attributes, the name of a file among them."""

    # --- names ---

    max_name: int = 1024
    """Longest file name in raw bytes, sub-directories included. Its quoted form still fits a line."""

    max_alias: int = 2047
    """Longest alias in raw bytes. Source: the 2007 tracker."""

    # --- connections to a server of ours ---

    max_connections: int = 10_000
    """Most connections of one server at a time. For one more, the stranger that has been silent longest is closed;
    where there is no stranger, the newcomer."""

    max_connections_per_host: int = 1000
    """Most strangers' connections of one address (of one /64, in IPv6) at a time: at a tracker, those that have not
    said ADDR. For one more, its own longest silent one is closed. Labs run hundreds on one host."""

    max_peers_per_host: int = 1000
    """Most peers that one address (one /64, in IPv6) has logged in at a time; ADDR beyond is refused."""

    reserved_descriptors: int = 256
    """File descriptors that connections of strangers leave to everything else; at most a quarter of all that the
    process may have."""

    first_command_timeout: float = 60 * SECONDS
    """Idle time before the first command. Source: the 2007 tracker."""

    idle_timeout: float = 600 * SECONDS
    """Idle time after the first command; a blank line counts as activity. Source: the 2007 tracker."""

    line_timeout: float = 60 * SECONDS
    """From the first byte of a line to its end: a dripper does not live for ever."""

    send_timeout: float = 60 * SECONDS
    """For one answer to be taken by the other side's kernel: who never reads is dropped."""

    accept_backoff: float = 0.1 * SECONDS
    """Pause after accept failed for want of file descriptors or memory, and closing a stranger did not help."""

    # --- the tracker's books ---

    max_base_files: int = 1000
    """Most files of one peer without HELLO. Source: the 2007 tracker."""

    max_files: int = 1_000_000
    """Most files of one peer that said HELLO."""

    max_registrations: int = 4_000_000
    """Most registrations (peer, file) that a tracker keeps, at some 300 bytes each. One address (one /64, in IPv6) has
    no more of them than are left over, so that nobody takes all places alone."""

    max_contents_per_name: int = 64
    """Most contents that one name stands for."""

    max_want_peers: int = 200
    """Most holders in an answer to WANT after HELLO, unless max= asks for fewer."""

    max_who_peers: int = 10_000
    """Most peers in an answer to WHO after HELLO."""

    max_list_page: int = 100_000
    """Most files in one answer to LIST, paged or not, after HELLO."""

    max_base_list: int = 10_000
    """Most files in one answer to LIST without HELLO; the text gives the honest total."""

    max_answer_bytes: int = 1 * MIB
    """Most bytes of one answer to LIST or WHO after HELLO, and to LIST without: a page ends there."""

    max_unsent_answers: int = 64 * MIB
    """Most bytes of long answers that a tracker holds for those who are slow to take them, all together. Beyond, who
    has been slow longest is closed."""

    max_blocked_input: int = 64 * KIB
    """Most bytes of lines that a client may have sent behind a BLOCKNOTIFY that waits."""

    max_block_queue: int = 100
    """Most new peers of which a peer with BLOCKNOTIFY or NOTIFY is still to be told; the oldest are forgotten."""

    max_notify_connections: int = 50
    """Most connections that a tracker opens at a time to tell peers of a new one."""

    notify_timeout: float = 5 * SECONDS
    """For one such connection, from connect to close."""

    # --- a sharer ---

    max_uploads: int = 200
    """Most uploads at a time; what comes beyond is closed (base) or told to retry (OSP2P/2)."""

    busy_retry: float = 0.5 * SECONDS
    """What a downloader that found no free upload is told to wait."""

    max_held_stat: float = 60 * SECONDS
    """Longest time that a STAT with wait= is held."""

    max_ranges: int = 1000
    """Most ranges of chunk numbers in one word."""

    max_watched_offers: int = 1000
    """Of how many files one connection is told what chunks were gained."""

    max_uploads_per_host: int = 50
    """Most uploads at a time to one address."""

    request_timeout: float = 15 * SECONDS
    """For a stranger's first request line to arrive in full."""

    min_upload_rate: float = 256.0
    """Bytes per second, averaged over `upload_rate_window`, that a downloader must take, as far as our own rate limit
    lets it; a slower one is dropped."""

    upload_rate_window: float = 60 * SECONDS
    """Over what time `min_upload_rate` is averaged."""

    max_blank_lines: int = 100
    """Most blank lines before a stranger's first request."""

    max_unsent: int = 256 * KIB
    """Bytes of answers that are put together before they are sent, while further requests wait to be read."""

    max_kept_lists: int = 32
    """Most long chunk lists of whole files that are kept in memory because somebody asked for them, each at most
    512 KiB."""

    linger_timeout: float = 2 * SECONDS
    """How long a finished connection is read on, so that its last bytes are not lost to a reset."""

    max_lingering_bytes: int = 64 * KIB
    """How much of a finished connection is read on."""

    farewell_timeout: float = 0.5 * SECONDS
    """How long a client that is let go may take to hear why."""

    max_shared_files: int = 1_000_000
    """Most files of a shared directory. A name that is beyond is said to be left out."""

    keepalive_interval: float = 240 * SECONDS
    """How often a sharer sends a blank line to its tracker. Source: below the 2007 tracker's 600 s."""

    # --- calls between nodes ---

    max_call_body: int = 1 * MIB
    """Most bytes of the document of one call, and of one result."""

    max_call_bytes: int = 64 * MIB
    """Most bytes of documents that have been announced to a node and are not answered yet, all together."""

    call_body_timeout: float = 15 * SECONDS
    """For a call's document to arrive in full behind its line."""

    max_calls: int = 256
    """Most calls that a node carries out at a time; what comes beyond is told to retry."""

    max_calls_per_host: int = 128
    """Most of them for one address."""

    max_call_threads: int = 32
    """Most of them at a time in worker threads, where methods run that are not async."""

    max_call_threads_per_host: int = 16
    """Most of these threads for one address. A thread whose caller has left counts until its method is through."""

    max_call_time: float = 300 * SECONDS
    """Longest time that a call is worked at, however long its caller would wait."""

    call_attention: float = 0.02 * SECONDS
    """How long a call runs before it is watched whether its caller is still there."""

    call_window: float = 30 * SECONDS
    """How far the clocks of a caller and of the node that it calls may be apart."""

    max_remembered_calls: int = 250_000
    """Most calls that are remembered, so that none is carried out twice. At some 150 bytes each."""

    max_remembered_share: float = 0.5
    """Largest part of them that one address fills."""

    max_multicall: int = 1000
    """Most calls in one system.multicall."""

    call_idle: float = 60 * SECONDS
    """How long a connection to another node is kept for the next call."""

    max_idle_calls: int = 64
    """Most such connections, to all nodes together."""

    max_call_connections: int = 64
    """Most calls to one node that are under way at a time; what comes beyond waits."""

    max_contacts: int = 1000
    """Most nodes of which it is remembered where they listen."""

    max_contact_addresses: int = 8
    """Most addresses in one contact record, and of them tried."""

    contact_stagger: float = 0.25 * SECONDS
    """Pause between trying one address of a node and the next, while none has answered."""

    contact_interval: float = 1200 * SECONDS
    """How often a node says again where it listens and what it serves."""

    contact_check: float = 10 * SECONDS
    """How often it looks whether it listens elsewhere by now."""

    max_providers: int = 64
    """Most nodes that are asked whether they have a service."""

    provider_timeout: float = 5 * SECONDS
    """For one such node to prove it."""

    provider_patience: float = 1 * SECONDS
    """How long the others may take after the last node that has proved it."""

    max_http_head: int = 16 * KIB
    """Most bytes of the head of an HTTP request."""

    # --- talking to a tracker ---

    connect_timeout: float = 4 * SECONDS
    """For one TCP connection to stand; to a tracker, for its greeting and its answer to HELLO as well."""

    greeting_timeout: float = 5 * SECONDS
    """For a tracker's whole greeting."""

    hello_timeout: float = 2 * SECONDS
    """For a tracker's answer to HELLO; who does not give one is spoken to as in 2007."""

    reply_timeout: float = 30 * SECONDS
    """For one whole reply."""

    answer_timeout: float = 5 * SECONDS
    """From a question about files or peers to the first byte of the answer; a silent tracker is then left alone for
    `reconnect_most`."""

    tracker_patience: float = 1 * SECONDS
    """How long a tracker that is still silent is waited for once another has answered."""

    max_unasked_lines: int = 100
    """Most lines that a tracker says without being asked, between two signs of life of ours: some old ones answer a
    blank line."""

    unasked_wait: float = 1 * SECONDS
    """How long an old tracker may take to answer a blank line, as it should not, before it is asked the next thing:
    else that answer would be taken for the next one's."""

    max_remarks: int = 10
    """Most remarks of a tracker on our registration that are passed on to the user."""

    listing_timeout: float = 300 * SECONDS
    """For a whole LIST, of however many pages."""

    max_listed_files: int = 1_000_000
    """Most files of a whole LIST, of however many pages."""

    max_listed_bytes: int = 256 * MIB
    """Most bytes of a whole LIST, counted as the memory that it takes, of however many pages."""

    quit_timeout: float = 1 * SECONDS
    """For a tracker's answer to QUIT; then the connection is closed anyway."""

    reconnect_first: float = 0.25 * SECONDS
    """First pause before a lost tracker is tried again; it doubles."""

    reconnect_most: float = 4 * SECONDS
    """Longest such pause."""

    probe_timeout: float = 0.5 * SECONDS
    """For holders whose tracker cannot know whether they speak OSP2P/2 to say so, and what they have; all that are
    asked at a time together. Who does not is spoken to as in 2007."""

    probe_again: float = 60 * SECONDS
    """How long a holder that said nothing, or hung up, counts as one that does not speak OSP2P/2: then it is asked
    again. One that answered something else is what it is."""

    max_probed: int = 10_000
    """Of how many addresses it is remembered what they speak."""

    max_claimed_contents: int = 4
    """How many contents, or sizes of one, that only holders claim are tried one after the other."""

    max_holders: int = 2000
    """Most holders of one file that are remembered from a tracker's answers."""

    # --- a download ---

    max_size: int | None = None
    """Largest file in bytes that is fetched; None: the free disk less `disk_reserve`."""

    disk_reserve: int = 64 * MIB
    """Bytes of free disk that a download leaves untouched; of a disk below 1 GiB, a sixteenth of it."""

    directory_sync_timeout: float = 5 * SECONDS
    """How long the end of a download waits for the disk to take the directory's new entry, though it is being
    cancelled: the file has its final name already."""

    first_byte_timeout: float = 10 * SECONDS
    """From the request to the first byte of the answer."""

    idle_transfer_timeout: float = 15 * SECONDS
    """Longest silence in the middle of a transfer."""

    silence_is_end: float = 5 * SECONDS
    """Silence that ends a base transfer without known checksum or size. Source: 18 of 43 old peers never close."""

    min_rate: float = 128.0
    """Bytes per second, averaged over `rate_window`, below which a source is given up."""

    rate_window: float = 30 * SECONDS
    """Over what time `min_rate` is averaged."""

    hedge_after: float = 1 * SECONDS
    """How long a source may be slow before another is asked beside it."""

    connect_stagger: float = 0.1 * SECONDS
    """Pause between asking one holder and the next, while none has given a byte."""

    slow_rate: float = 1.0 * MIB
    """Bytes per second below which a base source is slow enough to ask another beside it; less where our own link is
    what is slow."""

    unproved_before_hedge: int = 256 * MIB
    """Bytes of a base transfer without an end after which another source is asked beside it; doubles each time."""

    silence_check: float = 0.25 * SECONDS
    """How often a silent base transfer is looked at: is it whole already, though the holder does not close?"""

    progress_interval: float = 0.1 * SECONDS
    """Least time between two progress events of one file."""

    max_sources_per_file: int = 4
    """Most base sources of one file at a time."""

    max_parallel_files: int = 16
    """Most files that are fetched at a time."""

    max_lanes: int = 100
    """Most holders from which small files are fetched at a time, one connection each."""

    max_source_tries: int = 300
    """Most holders that are tried for one file before it is given up: more than the 250 fakes of a tracker with -f."""

    max_connecting: int = 16
    """Most holders of one file that are tried at a time until one gives a byte."""

    digest_patience: float = 1 * SECONDS
    """How long a fetch waits for holders that have just begun to share to tell what proves the file: before it fetches
    a copy that nothing proves, and behind it."""

    digest_recheck: float = 0.1 * SECONDS
    """How often it asks meanwhile."""

    register_patience: float = 1 * SECONDS
    """How long a file that has arrived and is to be shared waits for a tracker to list it, before it is said to be
    here."""

    swarm_from: int = 4 * MIB
    """Bytes from which on a file is offered to others while it is still being fetched."""

    fetched_recheck: float = 1 * SECONDS
    """How often it is looked whether a file that has arrived, and is offered on, is still there and the same."""

    served_grace: float = 1 * SECONDS
    """How long after its last request a downloader counts as still being served."""

    max_oversized: int = 4
    """How many holders may send more than is allowed, or than the disk takes, before that is the file's fault."""

    request_time: float = 0.05 * SECONDS
    """How much of a holder's time one request for chunks takes, at its measured rate."""

    max_request: int = 16 * MIB
    """Most bytes of one request for chunks."""

    requests_ahead: int = 2
    """How many requests for chunks are on their way to one holder at a time."""

    end_game_after: float = 1 * SECONDS
    """How long a holder may be silent before others are asked for what it owes. One that is merely slow loses what
    another without work would bring much sooner."""

    seed_spared: float = 1 * SECONDS
    """As long as partial holders will have given what they hold within this time, a seed is not asked for it."""

    idle_recheck: float = 0.05 * SECONDS
    """How soon a holder without work is looked at again, as long as it has something that is missing here."""

    idle_holder: float = 3 * SECONDS
    """How long a holder that has nothing to give keeps its place while others wait for one."""

    watch_pause: float = 0.1 * SECONDS
    """Pause between an answer to a held STAT and the next one: news of that time come together."""

    thread_batch: int = 4 * MIB
    """Bytes of one request for chunks from which on they are written in a worker thread, a batch of so many at a time.
    Beside the thread the next bytes are received. Batches of 1 MiB took a third longer: each costs two switches."""

    max_chunk_sources: int = 32
    """Most OSP2P/2 holders of one file that are connected to at a time."""

    max_chunk_memory: int = 1024 * MIB
    """Memory in bytes for chunks of one file that are not whole yet, or not written: of a file of terabytes, whose
    chunks are large, fewer holders are asked at a time."""

    max_slow_loss: int = 256 * KIB
    """How many bytes of chunks that very slow holders have begun may be lost when their places go to others."""

    slow_loss_share: float = 0.125
    """Which part of a content may be lost so beyond that. It may be our own link that is slow."""

    max_ranges_rate: float = 20_000.0
    """How many ranges a second a holder may say that it has: to read eight thousand takes 4 ms."""

    max_busy_retry: float = 5 * SECONDS
    """Longest time that a busy holder can make us wait before it is asked again."""

    least_busy_retry: float = 0.1 * SECONDS
    """Shortest pause before a busy holder is asked again, whatever it says: meanwhile others are asked for what it was
    asked for."""

    first_refresh: float = 0.25 * SECONDS
    """First pause before the trackers are asked for further holders of a file that is being fetched; it doubles."""

    last_refresh: float = 8 * SECONDS
    """Longest such pause."""

    stall_timeout: float = 60 * SECONDS
    """How long a fetch goes on without any bytes of a new chunk before it is given up as stalled."""

    retry_window: float = 3 * SECONDS
    """How long a file whose holders all failed for reasons that may pass (busy, gone) is asked for again."""

    retry_pause: float = 0.5 * SECONDS
    """Pause before such a file is asked for again."""

    # --- the overlay ---

    max_datagram: int = 2048
    """Longest datagram in bytes that is looked at: an item's 1000 bytes, nodes of both families, and what is around."""

    overlay_in_rate: float = 100.0
    """Datagrams per second that one address may send us, averaged over some seconds; what comes beyond is dropped."""

    overlay_in_burst: int = 500
    """How many of them may come at once."""

    overlay_in_total: float = 5000.0
    """Queries per second that are answered, all addresses together."""

    overlay_out_rate: float = 50.0
    """Datagrams per second that we send to one address of our own network; what comes beyond waits."""

    overlay_out_burst: int = 100
    """How many of them may go at once."""

    overlay_mainline_rate: float = 3.5
    """The same where BitTorrent's nodes may be. Source: libtorrent blocks an address that sends more than 5."""

    overlay_mainline_burst: int = 10
    """How many of them may go at once there. Source: libtorrent counts over 10 s."""

    max_rated_hosts: int = 20_000
    """Of how many addresses rates are remembered; whoever was quiet longest is forgotten."""

    max_pending_queries: int = 4000
    """Most queries of ours that are unanswered or wait for their turn."""

    query_timeout: float = 4 * SECONDS
    """After so much silence a query has failed."""

    slow_least: float = 0.15 * SECONDS
    """Least silence after which a lookup asks another node beside a silent one. What is usual counts (RFC 6298)."""

    slow_most: float = 1 * SECONDS
    """Most such silence."""

    max_lookup_candidates: int = 128
    """Most nodes that one lookup keeps in mind: the nearest of all it was told."""

    max_lookup_queries: int = 200
    """Most queries of one lookup."""

    lookup_timeout: float = 30 * SECONDS
    """After which a lookup ends with what it has."""

    lookup_witnesses: int = 3
    """How many nodes far away a lookup asks beside the nearest, so that liars who name each other do not close it
    in."""

    max_lookup_same_network: int = 3
    """Most nodes of one public IPv4 network of 24 bits (IPv6: 64) among the candidates of a lookup."""

    max_bucket_same_network: int = 2
    """Most nodes of one such network in a bucket. Source: libtorrent's dht_restrict_routing_ips, which allows one."""

    max_namer_failures: int = 3
    """So many nodes that a node named in a lookup may be silent, and none answer, before its others are not asked."""

    max_verifying: int = 64
    """Most nodes that queried us and are being pinged before they are taken into the routing table."""

    neighbour_quiet: float = 15 * MINUTES
    """After so long without an answer a neighbour is questionable, and a bucket is refreshed. Source: BEP 5."""

    neighbour_failures: int = 2
    """So many queries in a row that a neighbour leaves unanswered before another takes its place."""

    max_stored_peers: int = 100_000
    """Most announcements that are kept for others; when it is full, whoever has most of them loses one."""

    max_stored_peers_per_host: int = 4000
    """Most announcements of one address."""

    max_peers_per_key: int = 500
    """Most peers of one key."""

    max_peers_per_key_and_host: int = 16
    """Most peers of one key at one address (one /64, in IPv6)."""

    max_values: int = 50
    """Most peers in one answer. Source: what fits a datagram of 1500 bytes beside nodes."""

    peer_lifetime: float = 45 * MINUTES
    """How long an announcement is kept. Source: libtorrent."""

    announce_interval: float = 20 * MINUTES
    """How often we announce again."""

    max_stored_items: int = 5000
    """Most immutable and signed items that are kept for others."""

    max_stored_items_per_host: int = 500
    """Most items that one address put here."""

    item_lifetime: float = 120 * MINUTES
    """How long an item is kept. Source: BEP 44."""

    item_interval: float = 45 * MINUTES
    """How often we put our own items again. Source: BEP 44 says hourly."""

    token_lifetime: float = 5 * MINUTES
    """How long a token is given out; it is taken for as long again. Source: BEP 5."""

    unproved_answer_factor: float = 3.0
    """How many times a query's length an answer may have, as long as its address is not proved. Source: QUIC."""

    max_proved: int = 10_000
    """Of how many addresses it is remembered that they are no forgeries."""

    max_voters: int = 32
    """Of how many hosts it is remembered what address they see us at."""

    max_saved_contacts: int = 200
    """Most neighbours that are written to a file for the next start, and read from it."""

    max_lan_nodes: int = 64
    """Most nodes that are found on the local network."""

    join_first: float = 1 * SECONDS
    """First pause before a node that is alone tries again; it doubles."""

    join_most: float = 30 * SECONDS
    """Longest such pause."""

    max_announced_files: int = 1000
    """Most files that are announced one by one; whoever shares more is asked for all of them."""

    publish_at_a_time: int = 8
    """How many keys are announced at a time."""

    max_asked_peers: int = 32
    """How many peers that the overlay named are asked at a time what they have."""

    overlay_list_page: int = 5000
    """How many names a peer that the overlay named is asked for at a time."""

    join_patience: float = 5 * SECONDS
    """How long a command waits until somebody in the overlay answers."""

    find_timeout: float = 20 * SECONDS
    """How long a file is looked for in the overlay at most; a lookup that is through has ended long before."""

    find_linger: float = 0.2 * SECONDS
    """How long further holders are waited for once there is one."""

    find_again: float = 5 * SECONDS
    """How soon a file is looked for in the overlay again, while it is being fetched."""

    source_patience: float = 0.3 * SECONDS
    """How long trackers or the overlay are waited for once the other has named holders."""

    max_found_peers: int = 200
    """Most peers of one key that a search takes."""


DEFAULT = Limits()
"""The limits of a node whose user said nothing else."""
