-- What RDP may reach of the person's machine, one bit for each, as
-- policy.Redirection counts them: nothing of what was there before.

ALTER TABLE grants ADD COLUMN redirection BIGINT NOT NULL DEFAULT 0;

ALTER TABLE templates ADD COLUMN redirection BIGINT NOT NULL DEFAULT 0;
