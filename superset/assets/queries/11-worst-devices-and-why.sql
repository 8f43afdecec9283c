-- Devices that need attention, and how long they have
-- Days with trouble of each device by its main issue, in the last four weeks that it was in service.
with days as (
    select
        *,
        row_number() over (partition by tenant_id, device_id order by day desc) as days_ago
    from cube_device_health_daily
)

select
    site_name,
    device_name,
    model_name,
    main_issue,
    count(*) as days,
    max(day) as last_day,
    max(longest_silence_minutes) / 60 as longest_silence_hours
from days
where days_ago <= 28 and main_issue is not null
group by site_name, device_name, model_name, main_issue
order by days desc
