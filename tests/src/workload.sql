-- A database after years of hard work and no upkeep. Variables: orders, events, accounts, ... are row counts.
\set ON_ERROR_STOP 1
SET client_min_messages = warning;
-- A backend reports its counts once a second. What it reports after an ANALYZE that has seen those rows already would be
-- counted twice, so it is made to report first.
\set report 'SELECT pg_stat_force_next_flush();'

-- 40 % dead tuples: a quarter deleted, a quarter updated (of an indexed column, so that no update is heap-only and none
-- is pruned away): (1/4 + 1/4) dead of (1 + 1/4) versions.
CREATE TABLE orders (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id integer NOT NULL,
    status text NOT NULL,
    amount_cents bigint NOT NULL,
    placed_at timestamptz NOT NULL,
    note text
);
INSERT INTO orders (customer_id, status, amount_cents, placed_at, note)
    SELECT i::bigint * 7919 % 5000, (ARRAY['new', 'paid', 'sent', 'done'])[i % 4 + 1], i * 31 % 100000,
           timestamptz '2025-01-01 00:00+00' + i * interval '1 minute', repeat('x', i % 60)
    FROM generate_series(1, :orders) i;
CREATE INDEX orders_placed_at_idx ON orders (placed_at);
CREATE INDEX orders_customer_id_idx ON orders (customer_id);
CREATE INDEX orders_customer_id_copy_idx ON orders (customer_id);
:report
ANALYZE orders;
DELETE FROM orders WHERE id % 4 = 0;
UPDATE orders SET placed_at = placed_at + interval '1 day' WHERE id % 4 = 1;

-- Bloated btrees: 70 % of the keys deleted, scattered, and vacuumed since, so that the space is free inside the pages.
CREATE TABLE events (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    token text NOT NULL,
    happened_at timestamptz NOT NULL
);
INSERT INTO events (token, happened_at)
    SELECT md5(i::text), timestamptz '2025-01-01 00:00+00' + i * interval '10 seconds'
    FROM generate_series(1, :events) i;
CREATE INDEX events_token_idx ON events (token);
DELETE FROM events WHERE id % 10 < 7;
:report
VACUUM (ANALYZE) events;

-- For the rebuild that gets cancelled.
CREATE TABLE accounts (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email text NOT NULL);
INSERT INTO accounts (email) SELECT 'user' || i || '@example.org' FROM generate_series(1, :accounts) i;
CREATE INDEX accounts_email_idx ON accounts (email);
:report
ANALYZE accounts;

-- Stale statistics: analysed when it was small.
CREATE TABLE readings (sensor integer NOT NULL, value double precision NOT NULL);
INSERT INTO readings SELECT i % 10, i FROM generate_series(1, :readings / 20) i;
:report
ANALYZE readings;
INSERT INTO readings SELECT 10 + i % 1000, i FROM generate_series(1, :readings) i;

-- Never analysed.
CREATE TABLE imports (id integer NOT NULL, line text NOT NULL);
INSERT INTO imports SELECT i, 'line ' || i FROM generate_series(1, :imports) i;

-- A partitioned table whose partitions have statistics and whose parent never got any.
CREATE TABLE measurements (taken_at timestamptz NOT NULL, device integer NOT NULL, value double precision)
    PARTITION BY RANGE (taken_at);
SELECT format('CREATE TABLE measurements_2025_%s PARTITION OF measurements FOR VALUES FROM (%L) TO (%L)',
              to_char(m, 'FM00'), make_timestamptz(2025, m, 1, 0, 0, 0, 'UTC'),
              make_timestamptz(2025, m, 1, 0, 0, 0, 'UTC') + interval '1 month')
    FROM generate_series(1, 12) m
\gexec
CREATE INDEX measurements_device_idx ON measurements (device);
INSERT INTO measurements
    SELECT timestamptz '2025-01-01 00:00+00' + (i::float8 / :measurements) * interval '364 days', i % 50, i
    FROM generate_series(1, :measurements) i;
SELECT format('ANALYZE measurements_2025_%s', to_char(m, 'FM00')) FROM generate_series(1, 12) m
\gexec

-- A name that breaks whatever quotes by hand.
CREATE TABLE "We""ird Näme.x" (id integer PRIMARY KEY, "a""b" text);
INSERT INTO "We""ird Näme.x" SELECT i, 'v' || i FROM generate_series(1, :odd) i;
ANALYZE "We""ird Näme.x";
UPDATE "We""ird Näme.x" SET id = -id WHERE id % 2 = 0;

-- Values that are stored out of line, half of them written twice: the dead ones are in the TOAST table.
CREATE TABLE documents (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body text NOT NULL);
ALTER TABLE documents ALTER body SET STORAGE EXTERNAL;
INSERT INTO documents (body) SELECT repeat(md5(i::text), 128) FROM generate_series(1, :documents) i;
:report
ANALYZE documents;
UPDATE documents SET body = repeat(md5(body), 128) WHERE id % 2 = 0;

-- An identity column at nine tenths of what an integer holds.
CREATE TABLE tickets (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY, title text NOT NULL);
SELECT setval('tickets_id_seq', 1932735283) AS ignored
\gset
INSERT INTO tickets (title) SELECT 'ticket ' || i FROM generate_series(1, 100) i;
:report
ANALYZE tickets;
