// Screen readers pronounce a page in the language that it names; Superset's names none.
document.documentElement.lang = document.documentElement.lang || 'en';

// A dashboard's grid has twelve fixed columns, whatever the screen. On a phone each chart gets the whole row,
// or what the dashboard's file says of phones: the layout is changed as it arrives, before widths are computed.
(function () {
  var NARROW = 700;
  if (window.innerWidth > NARROW) return;

  function narrowed(layout) {
    Object.keys(layout).forEach(function (key) {
      var row = layout[key];
      if (!row || row.type !== 'ROW') return;
      row.children.forEach(function (id) {
        layout[id].meta.width = layout[id].meta.phoneWidth || 12;
      });
    });
    return layout;
  }

  var fetchAsIs = window.fetch.bind(window);
  window.fetch = function (resource, options) {
    var address = typeof resource === 'string' ? resource : resource.url;
    var answer = fetchAsIs(resource, options);
    if (!/\/api\/v1\/dashboard\/[^/?]+(\?|$)/.test(address)) return answer;
    return answer.then(function (response) {
      if (!response.ok) return response;
      return response.clone().json().then(function (body) {
        if (!body.result || !body.result.position_json) return response;
        body.result.position_json = JSON.stringify(narrowed(JSON.parse(body.result.position_json)));
        return new Response(JSON.stringify(body), {
          status: response.status, statusText: response.statusText, headers: response.headers,
        });
      }).catch(function () { return response; });
    });
  };
})();

// Results also as files that Superset does not write: security/exports.py makes them of the same question.
(function () {
  var CSV_LINK = 'a[href*="/api/v1/sqllab/export/"]';
  var EXCEL_ITEM = '[role="menuitem"][data-menu-id$="-export_to_xlsx"], [role="menuitem"][data-menu-id$="-export_xlsx"]';
  var asParquet = false;

  // SQL Lab has a link to CSV; the same link leads to the others.
  function besideCsv(link) {
    ['Excel', 'Parquet'].forEach(function (name) {
      var kind = name === 'Excel' ? 'xlsx' : 'parquet';
      var other = link.parentElement.querySelector('[data-test="export-' + kind + '-button"]');
      if (!other) {
        other = link.cloneNode(true);
        other.dataset.test = 'export-' + kind + '-button';
        other.setAttribute('aria-label', 'Download to ' + name);
        other.textContent = name;
        link.parentElement.insertBefore(other, link.nextSibling);
      }
      var address = link.getAttribute('href').replace(/\/api\/v1\/sqllab\/export\/([^/]+)\/?/, '/export/sql/$1.' + kind);
      if (other.getAttribute('href') !== address) other.setAttribute('href', address);
    });
  }

  // A chart's menu sends a form for Excel; Parquet is the same form, sent elsewhere.
  function belowExcel(item) {
    var next = item.nextElementSibling;
    if (next && next.dataset.test === 'export-parquet') return;
    var other = item.cloneNode(true);
    other.dataset.test = 'export-parquet';
    other.removeAttribute('data-menu-id');
    var label = other.querySelector('.ant-dropdown-menu-title-content, .ant-menu-title-content') || other;
    label.textContent = 'Export to Parquet';
    other.addEventListener('click', function (event) {
      event.stopPropagation();
      asParquet = true;
      item.click();
      setTimeout(function () { asParquet = false; }, 3000);
    });
    item.parentElement.insertBefore(other, next);
  }

  var submitAsIs = HTMLFormElement.prototype.submit;
  HTMLFormElement.prototype.submit = function () {
    if (asParquet && /\/api\/v1\/chart\/data/.test(this.action)) {
      this.action = '/export/chart.parquet';
      asParquet = false;
    }
    return submitAsIs.call(this);
  };

  new MutationObserver(function () {
    document.querySelectorAll(CSV_LINK).forEach(besideCsv);
    document.querySelectorAll(EXCEL_ITEM).forEach(belowExcel);
  }).observe(document.documentElement, {childList: true, subtree: true, attributes: true, attributeFilter: ['href']});
})();
