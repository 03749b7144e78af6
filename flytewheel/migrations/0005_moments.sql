-- what a look keeps of its users.
ALTER TABLE metric_looks ADD COLUMN IF NOT EXISTS moments jsonb;   -- sums over users that are kept; null: measured when asked for
