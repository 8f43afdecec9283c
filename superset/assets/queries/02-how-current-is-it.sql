-- How current is what I see?
-- The state of the data: which build is shown, when it was published, its verdict, and whether newer data waits.
select
    tenant_id,
    build_id,
    published_at,
    verdict,
    under_review_since,
    held_at
from data_state
