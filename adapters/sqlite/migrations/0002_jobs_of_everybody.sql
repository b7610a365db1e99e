-- For those who look after everybody's jobs.
CREATE INDEX jobs_newest ON jobs (created_at DESC, id DESC);

PRAGMA user_version = 2;
