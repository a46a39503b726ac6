-- When the recording of a session was removed because it was older than
-- recordings are kept; 0 if it was not.

ALTER TABLE sessions ADD COLUMN removed BIGINT NOT NULL DEFAULT 0;
