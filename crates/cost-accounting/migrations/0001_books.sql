-- The books. Plain SQL that SQLite and PostgreSQL read alike: BIGINT for numbers, flags (0 or 1) and milliseconds since
-- 1970, TEXT for the rest. Costs are billionths of a US dollar; NULL is unknown, or nothing to be charged for.

-- One line per try at one target. `counted`: tokens were reported. `sequence`: position of its first report.
CREATE TABLE attempts (
    id TEXT NOT NULL PRIMARY KEY,
    sequence BIGINT NOT NULL,
    request TEXT NOT NULL,
    number BIGINT NOT NULL,
    ended_at BIGINT NOT NULL,
    month_at BIGINT NOT NULL,
    workspace TEXT NOT NULL,
    api_key TEXT,
    virtual_key TEXT,
    provider TEXT,
    model TEXT,
    model_asked TEXT,
    operation TEXT NOT NULL,
    lane TEXT NOT NULL,
    config TEXT NOT NULL,
    user_name TEXT,
    path TEXT NOT NULL,
    status BIGINT,
    error TEXT,
    outcome TEXT,
    cache_status TEXT,
    counted BIGINT NOT NULL,
    input BIGINT NOT NULL,
    output BIGINT NOT NULL,
    cached_input BIGINT NOT NULL,
    cache_write BIGINT NOT NULL,
    cache_write_long BIGINT NOT NULL,
    reasoning BIGINT NOT NULL,
    audio_input BIGINT NOT NULL,
    audio_output BIGINT NOT NULL,
    images BIGINT NOT NULL,
    searches BIGINT NOT NULL,
    cost_nano BIGINT,
    price TEXT,
    repriced BIGINT NOT NULL,
    tier TEXT,
    region TEXT,
    estimated BIGINT NOT NULL,
    duplicate_possible BIGINT NOT NULL,
    streamed BIGINT NOT NULL,
    ended_request BIGINT NOT NULL,
    queued_ms BIGINT NOT NULL,
    first_byte_ms BIGINT,
    duration_ms BIGINT NOT NULL,
    metadata TEXT
);

CREATE INDEX attempts_ended_at ON attempts (ended_at);
CREATE INDEX attempts_workspace ON attempts (workspace, ended_at);
CREATE INDEX attempts_request ON attempts (request);

-- One line per request, about its latest end.
CREATE TABLE requests (
    id TEXT NOT NULL PRIMARY KEY,
    event TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    ended_at BIGINT NOT NULL,
    month_at BIGINT NOT NULL,
    workspace TEXT NOT NULL,
    api_key TEXT,
    virtual_key TEXT,
    provider TEXT,
    model TEXT,
    operation TEXT NOT NULL,
    lane TEXT NOT NULL,
    config TEXT NOT NULL,
    user_name TEXT,
    status BIGINT,
    outcome TEXT,
    attempts BIGINT NOT NULL,
    cache_status TEXT,
    saved_input BIGINT NOT NULL,
    saved_output BIGINT NOT NULL,
    saved_nano BIGINT,
    streamed BIGINT NOT NULL,
    total_ms BIGINT NOT NULL,
    overhead_ms BIGINT NOT NULL,
    metadata TEXT
);

CREATE INDEX requests_ended_at ON requests (ended_at);
CREATE INDEX requests_workspace ON requests (workspace, ended_at);

-- The caller's key-value pairs, for grouping; the JSON text in the other tables is the same whole.
CREATE TABLE metadata (
    request TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (request, name)
);

CREATE INDEX metadata_name ON metadata (name, value);

-- Books that are being made anew, before they replace those above.
CREATE TABLE rebuilt_attempts (
    id TEXT NOT NULL PRIMARY KEY,
    sequence BIGINT NOT NULL,
    request TEXT NOT NULL,
    number BIGINT NOT NULL,
    ended_at BIGINT NOT NULL,
    month_at BIGINT NOT NULL,
    workspace TEXT NOT NULL,
    api_key TEXT,
    virtual_key TEXT,
    provider TEXT,
    model TEXT,
    model_asked TEXT,
    operation TEXT NOT NULL,
    lane TEXT NOT NULL,
    config TEXT NOT NULL,
    user_name TEXT,
    path TEXT NOT NULL,
    status BIGINT,
    error TEXT,
    outcome TEXT,
    cache_status TEXT,
    counted BIGINT NOT NULL,
    input BIGINT NOT NULL,
    output BIGINT NOT NULL,
    cached_input BIGINT NOT NULL,
    cache_write BIGINT NOT NULL,
    cache_write_long BIGINT NOT NULL,
    reasoning BIGINT NOT NULL,
    audio_input BIGINT NOT NULL,
    audio_output BIGINT NOT NULL,
    images BIGINT NOT NULL,
    searches BIGINT NOT NULL,
    cost_nano BIGINT,
    price TEXT,
    repriced BIGINT NOT NULL,
    tier TEXT,
    region TEXT,
    estimated BIGINT NOT NULL,
    duplicate_possible BIGINT NOT NULL,
    streamed BIGINT NOT NULL,
    ended_request BIGINT NOT NULL,
    queued_ms BIGINT NOT NULL,
    first_byte_ms BIGINT,
    duration_ms BIGINT NOT NULL,
    metadata TEXT
);

CREATE TABLE rebuilt_requests (
    id TEXT NOT NULL PRIMARY KEY,
    event TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    ended_at BIGINT NOT NULL,
    month_at BIGINT NOT NULL,
    workspace TEXT NOT NULL,
    api_key TEXT,
    virtual_key TEXT,
    provider TEXT,
    model TEXT,
    operation TEXT NOT NULL,
    lane TEXT NOT NULL,
    config TEXT NOT NULL,
    user_name TEXT,
    status BIGINT,
    outcome TEXT,
    attempts BIGINT NOT NULL,
    cache_status TEXT,
    saved_input BIGINT NOT NULL,
    saved_output BIGINT NOT NULL,
    saved_nano BIGINT,
    streamed BIGINT NOT NULL,
    total_ms BIGINT NOT NULL,
    overhead_ms BIGINT NOT NULL,
    metadata TEXT
);

CREATE TABLE rebuilt_metadata (
    request TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (request, name)
);
