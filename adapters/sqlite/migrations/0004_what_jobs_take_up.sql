-- Bytes of its files, and seconds of its sound: see `Job::bytes` and `Job::seconds`. Jobs from before count from their next
-- change on.
ALTER TABLE jobs ADD COLUMN bytes   INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN seconds REAL    NOT NULL DEFAULT 0;

-- Few jobs wait at a time.
CREATE INDEX jobs_queued ON jobs (created_at) WHERE status = 'queued';

PRAGMA user_version = 4;
