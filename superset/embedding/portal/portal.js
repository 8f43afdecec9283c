// How a product's page embeds a dashboard: ask your own server for a token, and hand it to the SDK.
(function () {
  const place = document.getElementById('dashboard');
  const problem = document.getElementById('problem');
  const tabs = document.querySelectorAll('nav button');
  const phone = window.matchMedia('(max-width: 700px)');
  let shown = null;
  // Whoever clicks twice gets what was clicked last, whichever answers first.
  let wanted = null;

  // Your server adds its key and who is logged in; see portal.py.
  async function ask(dashboard) {
    const answer = await fetch('token', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ dashboard }),
    });
    const said = await answer.json();
    if (!answer.ok) throw new Error(said.error);
    return said;
  }

  async function show(dashboard) {
    if (wanted?.dashboard === dashboard) return;
    const mine = (wanted = { dashboard });
    problem.hidden = true;
    tabs.forEach(tab => tab.setAttribute('aria-current', tab.dataset.dashboard === dashboard ? 'page' : 'false'));
    try {
      const first = await ask(dashboard);
      if (wanted !== mine) return;
      const tokens = [first.token];
      wear(first.theme.token, first.dashboards_url);
      shown?.unmount();
      const frame = document.createElement('div');
      place.replaceChildren(frame);
      const embedded = await supersetEmbeddedSdk.embedDashboard({
        id: first.id,
        supersetDomain: first.dashboards_url,
        mountPoint: frame,
        // Called at once, and again shortly before each token ends.
        fetchGuestToken: async () => tokens.pop() || (await ask(dashboard)).token,
        dashboardUiConfig: { hideTitle: true, filters: { expanded: false } },
        iframeTitle: document.querySelector(`[data-dashboard="${dashboard}"]`).textContent,
      });
      if (wanted !== mine) return embedded.unmount();
      shown = embedded;
      // Dashboards wear the tenant's brand by themselves; this is how to give them another look.
      shown.setThemeConfig({ theme_default: first.theme });
    } catch (error) {
      if (wanted !== mine) return;
      // A second click tries again.
      wanted = null;
      problem.textContent = `The dashboard cannot be shown: ${error.message}`;
      problem.hidden = false;
    }
  }

  // The product around the dashboards in the same colours.
  function wear(theme, dashboardsUrl) {
    const style = document.documentElement.style;
    style.setProperty('--primary', theme.colorPrimary);
    style.setProperty('--font', theme.fontFamily);
    if (theme.colorTextBase) style.setProperty('--ink', theme.colorTextBase);
    if (theme.colorBgLayout) style.setProperty('--canvas', theme.colorBgLayout);
    const logo = new Image();
    logo.alt = document.title = theme.brandAppName;
    logo.src = new URL(theme.brandLogoUrl, dashboardsUrl);
    document.querySelector('h1').replaceChildren(logo);
  }

  const first = () => (phone.matches ? 'fleet-pocket' : 'fleet-overview');
  tabs.forEach(tab => tab.addEventListener('click', () => show(tab.dataset.dashboard)));
  phone.addEventListener('change', () => show(first()));
  show(first());
})();
