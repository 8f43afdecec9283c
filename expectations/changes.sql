-- What one tenant's changed days hold, over the attached warehouse; tenant, days and loads are filled in by the gate.
create view gate.loads as from gate.arrived where is_new;

create view gate.changed_readings as
select tenant_id, site_id, device_id, metric, measured_at, load_id, value, invalid_reason
from warehouse.main.fct_readings
where tenant_id = (select tenant_id from gate.tenant) and reading_date in (select day from gate.days)
    and reading_date between (select min(day) from gate.days) and (select max(day) from gate.days)
    and reading_date <= (select day from warehouse.build.as_of);
